//! The tables in README.md are the ones that the program prints. `CEDM_BLESS=1` writes them anew.

use std::path::PathBuf;

fn filled(text: &str, section: &str, table: &str) -> String {
    let open = format!("<!-- {section} -->\n");
    let start = text
        .find(&open)
        .unwrap_or_else(|| panic!("README.md has no {open:?}"))
        + open.len();
    let end = start + text[start..].find("<!-- end -->").expect("an end mark");
    format!("{}\n{}\n\n{}", &text[..start], table.trim(), &text[end..])
}

#[test]
fn the_readme_shows_the_tables_of_the_program() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let found = std::fs::read_to_string(&file).unwrap();
    let expected = filled(&found, "metrics", &cedm_catalogue::metrics::markdown());
    let expected = filled(&expected, "others", &cedm_evaluator::run::as_markdown());
    if std::env::var_os("CEDM_BLESS").is_some() {
        std::fs::write(&file, &expected).unwrap();
    } else {
        assert!(
            found == expected,
            "{} is out of date: run this test with CEDM_BLESS=1",
            file.display()
        );
    }
}

#[test]
fn every_equivalent_of_an_option_exists() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_cedm-evaluator"))
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (options, table) = help
        .split_once("Options of other tools and their equivalents")
        .expect("the table is below the options");
    assert!(table.contains("torch-fidelity") && table.contains("clean-fid"));
    let names = cedm_catalogue::metrics::score_metric_names();
    for (tool, rows) in cedm_evaluator::run::OTHERS {
        for (theirs, ours) in *rows {
            let same = ours.starts_with("the same") || ours.starts_with("drawn");
            let words = if same { theirs } else { ours };
            for option in words
                .split([' ', ',', ':', ';', '('])
                .filter(|word| word.starts_with("--"))
            {
                assert!(
                    options.contains(&format!("      {option}")),
                    "{tool}: {theirs} names {option}, which does not exist"
                );
            }
            if let Some(list) = ours.split("--metrics ").nth(1) {
                for name in list
                    .split([' ', '\n'])
                    .next()
                    .unwrap()
                    .split(',')
                    .filter(|name| !name.is_empty())
                {
                    assert!(
                        name == "none" || names.contains(&name),
                        "{tool}: {theirs} names the metric {name}"
                    );
                }
            }
        }
    }
    for named in table.split("--extractor ").skip(1) {
        let name = named.split([' ', ',', ';', '\n']).next().unwrap();
        assert!(
            cedm_catalogue::extractors::extractor(name).is_some(),
            "there is no extractor {name}"
        );
    }
}
