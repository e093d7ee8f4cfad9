//! The tables as CSV files: full precision, one fact per column, empty where a number is missing.

mod agreement;
mod bounds;
mod clusterings;
mod comparisons;
mod costs;
mod curves;
mod efficiency;
mod granularities;
mod jobs;
mod metrics;
mod missing;
mod scores;
mod summaries;
mod uniform;

use crate::{Attachment, context::ReportContext};

/// Every CSV file of the report.
pub fn all(context: &ReportContext) -> Vec<Attachment> {
    vec![
        scores::file(context),
        summaries::file(context),
        clusterings::file(context),
        bounds::file(context),
        curves::file(context),
        jobs::file(context),
        costs::file(context),
        missing::file(context),
        granularities::file(context),
        comparisons::file(context),
        efficiency::file(context),
        agreement::file(context),
        uniform::file(context),
        metrics::file(context),
    ]
}

/// A column: its head, and its cell in a row.
type Column<Row> = (&'static str, fn(&Row) -> String);

/// A file with these columns; a head alone where there are no rows.
fn table<Row>(
    name: &str,
    columns: &[Column<Row>],
    rows: impl IntoIterator<Item = Row>,
) -> Attachment {
    const MEMORY: &str = "invariant: memory takes every byte, and rows are equally long";
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = columns.iter().map(|(head, _)| head);
    writer.write_record(heads).expect(MEMORY);
    for row in rows {
        let cells = columns.iter().map(|(_, cell)| cell(&row));
        writer.write_record(cells).expect(MEMORY);
    }
    let bytes = writer.into_inner().expect(MEMORY);
    Attachment {
        name: name.to_owned(),
        text: String::from_utf8(bytes).expect("invariant: every cell is text"),
    }
}

/// A number as text; nothing where it is missing.
fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        let file = table(
            "t.csv",
            &[
                ("a", |row: &&str| (*row).to_owned()),
                ("b", |_| String::new()),
            ],
            ["a,b", "say \"x\""],
        );
        assert_eq!(file.text, "a,b\n\"a,b\",\n\"say \"\"x\"\"\",\n");
    }
}
