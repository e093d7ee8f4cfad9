//! Captions beside lines, placed where they cover nothing.

use super::{
    Level,
    frame::{Frame, LINE_HEIGHT},
    marks::{rounded, style_class},
};
use maud::{Markup, html};

/// Width of a character of a caption or axis name in pixels: enough for the widest common
/// sans-serif (DejaVu Sans).
const CHARACTER: f64 = 6.9;

/// Width of a caption in pixels.
fn width_of(words: &str) -> f64 {
    CHARACTER * words.chars().count() as f64
}

/// The words in as few lines as fit into `width` pixels.
pub fn wrapped(words: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if width_of(line) + width_of(word) + CHARACTER <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Captions of vertical lines from left to right, each with its row above the plot: a caption that
/// would touch the one before it goes one row up.
pub fn rows_of_names<'a>(
    frame: &Frame,
    verticals: &'a [(f64, String)],
) -> impl Iterator<Item = (usize, (f64, &'a str))> + use<'a> {
    let mut sorted: Vec<(f64, &str)> = verticals
        .iter()
        .map(|(x, name)| (frame.x(*x), name.as_str()))
        .collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted.dedup();
    let mut ends: Vec<f64> = Vec::new();
    let mut placed = Vec::new();
    for (x, name) in sorted {
        let half = width_of(name) / 2.0;
        let x = x.min(frame.width - half - 2.0).max(half + 2.0);
        let free = ends.iter().position(|end| *end + CHARACTER < x - half);
        let row = free.unwrap_or(ends.len());
        ends.resize(ends.len().max(row + 1), 0.0);
        ends[row] = x + half;
        placed.push((row, (x, name)));
    }
    placed.into_iter()
}

/// A rectangle: left, top, right, bottom.
type Area = [f64; 4];

fn overlap(a: &Area, b: &Area) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// What is drawn already, and the captions among it.
pub struct Captions<'a> {
    frame: &'a Frame,
    taken: Vec<Area>,
}

impl<'a> Captions<'a> {
    /// Nothing is drawn yet.
    pub fn new(frame: &'a Frame) -> Self {
        Self {
            frame,
            taken: Vec::new(),
        }
    }

    /// No caption shall cover this rectangle, given by two corners. Draws nothing.
    pub fn avoid(&mut self, (left, top): (f64, f64), (right, bottom): (f64, f64)) -> Markup {
        self.taken.push([left, top, right, bottom]);
        html! {}
    }

    /// No caption shall cover this line.
    pub fn avoid_path(&mut self, path: &[(f64, f64)]) {
        for ends in path.windows(2) {
            let ((x0, y0), (x1, y1)) = (ends[0], ends[1]);
            // Small squares along the line: a rectangle around the whole segment would also take
            // the free space beside a sloping line.
            let squares = ((x1 - x0).abs().max((y1 - y0).abs()) / 6.0).ceil().max(1.0);
            for square in 0..=squares as usize {
                let share = square as f64 / squares;
                let (x, y) = (x0 + share * (x1 - x0), y0 + share * (y1 - y0));
                self.taken.push([x - 1.0, y - 1.0, x + 1.0, y + 1.0]);
            }
        }
    }

    /// The caption of a horizontal line: above or below it, as far to the right as it covers
    /// nothing; where everything is taken, where it covers least.
    pub fn beside(&mut self, level: &Level) -> Markup {
        let (width, y) = (width_of(&level.name), self.frame.y(level.y));
        let (left, right) = (self.frame.left + 4.0, self.frame.right - 4.0);
        let steps = ((right - left - width).max(0.0) / 12.0) as usize;
        let places = (0..=steps).flat_map(|step| {
            let end = right - 12.0 * step as f64;
            [(end, y - 5.0), (end, y + 14.0)]
        });
        let cost = |(end, base): &(f64, f64)| {
            let area = [end - width, base - 11.0, *end, base + 3.0];
            let covered = self.taken.iter().filter(|one| overlap(one, &area)).count();
            let outside = area[1] < self.frame.top || area[3] > self.frame.bottom;
            covered + 1000 * usize::from(outside)
        };
        let (end, base) = places.min_by_key(cost).unwrap_or((right, y - 5.0));
        self.avoid((end - width, base - 11.0), (end, base + 3.0));
        html! { text class=(format!("caption{}", style_class(level.style))) x=(rounded(end)) y=(rounded(base)) text-anchor="end" { (level.name) } }
    }

    /// The caption of a vertical line, `row` rows above the plot and centred at `x` pixels.
    pub fn above(&mut self, row: usize, x: f64, name: &str) -> Markup {
        // Clear of a mark that lies on the upper edge.
        let base = self.frame.top - 9.0 - LINE_HEIGHT * row as f64;
        html! { text.caption x=(rounded(x)) y=(rounded(base)) text-anchor="middle" { (name) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, Chart, Line, Point, Series};

    fn point(x: f64, y: f64) -> Point {
        Point {
            x,
            y,
            error: None,
            tooltip: String::new(),
        }
    }
    fn chart(points: &[(f64, f64)]) -> Chart {
        let series = Series {
            name: "s".to_owned(),
            style: 0,
            line: Line::Marks,
            points: points.iter().map(|(x, y)| point(*x, *y)).collect(),
        };
        Chart::new(Axis::linear("x"), Axis::fraction("y"), [series])
    }

    #[test]
    fn a_caption_avoids_what_is_drawn() {
        let frame = Frame::new(&chart(&[(0.0, 0.0), (1.0, 1.0)]), 420.0, 330.0);
        let level = Level {
            name: "unconditional".to_owned(),
            style: None,
            y: 0.5,
        };
        let mut captions = Captions::new(&frame);
        let free = captions.beside(&level).into_string();
        let again = captions.beside(&level).into_string();
        assert_ne!(free, again, "the second one does not cover the first");
        let at = |y: f64| format!(" y=\"{}\"", rounded(y));
        assert!(free.contains(&at(frame.y(0.5) - 5.0)), "{free}");
        assert!(again.contains(&at(frame.y(0.5) + 14.0)), "{again}");
    }

    #[test]
    fn a_caption_at_the_upper_edge_goes_below_its_line() {
        let frame = Frame::new(&chart(&[(0.0, 0.0), (1.0, 1.0)]), 420.0, 330.0);
        let level = Level {
            name: "ceiling".to_owned(),
            style: None,
            y: 1.0,
        };
        let caption = Captions::new(&frame).beside(&level).into_string();
        assert!(
            caption.contains(&format!(" y=\"{}\"", rounded(frame.top + 14.0))),
            "{caption}"
        );
    }

    #[test]
    fn captions_of_vertical_lines_neither_touch_nor_leave_the_picture() {
        let frame = Frame::new(&chart(&[(0.0, 0.0), (100.0, 1.0)]), 420.0, 330.0);
        let lines = [
            (99.0, "C_max 99".to_owned()),
            (100.0, "C_max 100".to_owned()),
            (100.0, "C_max 100".to_owned()),
        ];
        let placed: Vec<_> = rows_of_names(&frame, &lines).collect();
        assert_eq!(
            placed.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
            [0, 1]
        );
        for (_, (x, name)) in placed {
            assert!(x + width_of(name) / 2.0 <= 420.0);
        }
    }

    #[test]
    fn long_names_are_wrapped() {
        assert_eq!(
            wrapped("squared feature units (lower is better)", 180.0),
            ["squared feature units", "(lower is better)"]
        );
        assert_eq!(wrapped("FD", 10.0), ["FD"]);
    }
}
