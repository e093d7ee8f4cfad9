//! Marks with tooltips: what plotters draws has no place for them.

use super::PALETTE;

/// Shape of a series' marks: told apart without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Triangle,
    /// ◆
    Diamond,
}

impl Shape {
    /// The shape of a style.
    pub fn of(style: usize) -> Self {
        [
            Shape::Circle,
            Shape::Square,
            Shape::Triangle,
            Shape::Diamond,
        ][style % 4]
    }
    fn path(self, x: i32, y: i32, r: i32) -> String {
        match self {
            Shape::Circle => format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\"/>"),
            Shape::Square => format!(
                "<rect x=\"{}\" y=\"{}\" width=\"{2}\" height=\"{2}\"/>",
                x - r + 1,
                y - r + 1,
                2 * r - 2
            ),
            Shape::Triangle => {
                format!("<path d=\"M{x},{}l{r},{}h{}z\"/>", y - r, 2 * r - 1, -2 * r)
            }
            Shape::Diamond => format!("<path d=\"M{x},{}l{r},{r}l-{r},{r}l-{r},-{r}z\"/>", y - r),
        }
    }
}

/// A mark of a series.
pub fn mark(x: i32, y: i32, shape: Shape, style: usize, tip: &str) -> String {
    let shape = shape.path(x, y, 5);
    format!(
        "<g class=\"mark s{}\"><circle class=\"hit\" cx=\"{x}\" cy=\"{y}\" \
         r=\"11\"/>{shape}<title>{}</title></g>",
        style % PALETTE,
        escaped(tip)
    )
}
/// A mark of the second axis.
pub fn small(x: i32, y: i32, style: usize, tip: &str) -> String {
    format!(
        "<g class=\"mark small s{}\"><circle class=\"hit\" cx=\"{x}\" cy=\"{y}\" r=\"9\"/><circle \
         cx=\"{x}\" cy=\"{y}\" r=\"2.5\"/><title>{}</title></g>",
        style % PALETTE,
        escaped(tip)
    )
}
/// A place that answers to the pointer, on curves without marks.
pub fn hidden(x: i32, y: i32, tip: &str) -> String {
    format!(
        "<g class=\"mark\"><circle class=\"hit\" cx=\"{x}\" cy=\"{y}\" \
         r=\"6\"/><title>{}</title></g>",
        escaped(tip)
    )
}
/// An error bar with caps.
pub fn error_bar(x: i32, top: i32, bottom: i32, style: usize) -> String {
    format!(
        "<path class=\"bar s{}\" d=\"M{x},{top}V{bottom}M{},{top}h8M{},{bottom}h8\"/>",
        style % PALETTE,
        x - 4,
        x - 4
    )
}
/// Words beside a line.
pub fn caption(x: i32, y: i32, anchor: &str, style: Option<usize>, words: &str) -> String {
    let class = style.map_or_else(
        || "caption".to_owned(),
        |style| format!("caption s{}", style % PALETTE),
    );
    format!(
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(words)
    )
}
/// Name of a vertical axis.
pub fn axis_name(x: i32, y: i32, anchor: &str, words: &str) -> String {
    format!(
        "<text class=\"axis-name\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(words)
    )
}
/// A series' mark for legends.
pub fn glyph(style: usize) -> String {
    let shape = Shape::of(style).path(7, 7, 5);
    format!(
        "<svg class=\"glyph\" viewBox=\"0 0 14 14\" aria-hidden=\"true\"><g class=\"mark \
         s{}\">{shape}</g></svg>",
        style % PALETTE
    )
}
/// Text inside SVG.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
