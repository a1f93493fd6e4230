//! A table as text, independent of where it is shown: on a terminal of some width, or as plain text. Pure.

use ratatui::text::Span;

/// Meaning of a piece of text. The screen displays it as a style; plain text ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// A value.
    #[default]
    Plain,
    /// A heading.
    Head,
    /// Normal.
    Good,
    /// Deserves attention.
    Warn,
    /// A problem.
    Bad,
    /// Less important.
    Dim,
    /// The best of its kind.
    Best,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Text of the cell.
    pub text: String,
    /// Meaning of the text.
    pub(crate) tone: Tone,
}

/// A cell with this tone.
#[must_use]
pub fn cell(text: impl Into<String>, tone: Tone) -> Cell {
    Cell { text: text.into(), tone }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        cell(text, Tone::Plain)
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// Whether the cells are aligned to the right, as numbers are.
    pub right: bool,
    /// When there is not enough space, columns with the highest rank are dropped first; rank 0 stays.
    pub(crate) rank: u8,
    /// Whether the column takes the remaining width and is cut there. For the last column.
    pub(crate) flexible: bool,
}

/// A text column, aligned to the left.
#[must_use]
pub const fn left(name: &'static str, rank: u8) -> Column {
    Column { name, right: false, rank, flexible: false }
}

/// A number column, aligned to the right.
#[must_use]
pub const fn right(name: &'static str, rank: u8) -> Column {
    Column { name, right: true, rank, flexible: false }
}

/// A last column for text of any length, cut where the width ends.
#[must_use]
pub const fn rest(name: &'static str) -> Column {
    Column { name, right: false, rank: 0, flexible: true }
}

/// A table with a title.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextTable {
    /// Title.
    pub title: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Text shown if there are no rows.
    pub empty: &'static str,
}

/// Spaces between two columns.
const GAP: usize = 2;
/// Widest cell. Received texts may be long.
const CELL_MAX: usize = 60;

/// Minimum width of a flexible column, if its text is that long.
const FLEXIBLE_MIN: usize = 24;

/// A line of consecutive cells.
pub(crate) type TableLine = Vec<Cell>;

/// Width of `text` in terminal columns.
#[must_use]
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text` cut to `most` terminal columns, with an ellipsis if it was cut.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if width(&kept) + width(c.encode_utf8(&mut [0; 4])) + 1 > most {
            break;
        }
        kept.push(c);
    }
    if most > 0 {
        kept.push('…');
    }
    kept
}

impl TextTable {
    /// The heading and the rows, each at most `most` columns wide. Drops the columns with the highest rank, then cuts
    /// the last one.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<TableLine> {
        if self.rows.is_empty() {
            return vec![vec![cell(cut(self.empty, most), Tone::Dim)]];
        }
        let shown = self.shown(most);
        let heading = shown.iter().map(|(at, _)| cell(self.columns[*at].name, Tone::Dim)).collect();
        let mut lines = vec![self.line(&shown, heading, most)];
        for row in &self.rows {
            let cells = shown.iter().map(|(at, _)| row[*at].clone()).collect();
            lines.push(self.line(&shown, cells, most));
        }
        lines
    }

    /// The columns that fit, with their widths.
    fn shown(&self, most: usize) -> Vec<(usize, usize)> {
        let wide = |at: usize| {
            let cells = self.rows.iter().map(|row| width(&row[at].text));
            cells.chain([width(self.columns[at].name)]).max().unwrap_or(0).min(CELL_MAX)
        };
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len()).map(|at| (at, wide(at))).collect();
        let least =
            |(at, wide): &(usize, usize)| if self.columns[*at].flexible { FLEXIBLE_MIN.min(*wide) } else { *wide };
        let total = |shown: &[(usize, usize)]| shown.iter().map(|column| least(column) + GAP).sum::<usize>();
        while total(&shown) > most + GAP {
            let rank = |(place, (at, _)): &(usize, &(usize, usize))| (self.columns[*at].rank, *place);
            let Some((place, (at, _))) = shown.iter().enumerate().max_by_key(rank) else { break };
            if self.columns[*at].rank == 0 {
                break;
            }
            shown.remove(place);
        }
        shown
    }

    fn line(&self, shown: &[(usize, usize)], cells: Vec<Cell>, most: usize) -> TableLine {
        let mut left = most;
        let mut line = Vec::with_capacity(cells.len());
        for (place, ((at, wide), Cell { text, tone })) in shown.iter().zip(cells).enumerate() {
            let text = cut(&text, (*wide).min(left));
            let pad = " ".repeat((*wide).min(left).saturating_sub(width(&text)));
            let is_last = place + 1 == shown.len();
            let gap = if is_last { String::new() } else { " ".repeat(GAP.min(left.saturating_sub(*wide))) };
            left = left.saturating_sub(wide + GAP);
            let text = match (self.columns[*at].right, is_last) {
                (true, _) => format!("{pad}{text}{gap}"),
                (false, true) => text,
                (false, false) => format!("{text}{pad}{gap}"),
            };
            line.push(cell(text, tone));
        }
        line
    }

    /// The table as text of any width: at most `rows_max` rows, then the number of remaining rows.
    #[must_use]
    pub fn text(&self, rows_max: usize) -> String {
        let mut text = format!("{}\n", self.title);
        for line in self.lines(usize::MAX / 2).into_iter().take(rows_max + 1) {
            let line: String = line.into_iter().map(|cell| cell.text).collect();
            text.push_str("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if self.rows.len() > rows_max {
            text.push_str(&format!("  and {} more\n", self.rows.len() - rows_max));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TextTable {
        let row = |a: &str, b: &str, c: &str| vec![a.into(), b.into(), c.into()];
        TextTable {
            title: "t".into(),
            columns: vec![left("name", 0), right("count", 1), left("words", 2)],
            rows: vec![row("binance", "12", "all is well"), row("okx", "3456789", "日本語 é")],
            empty: "none",
        }
    }

    fn lines(most: usize) -> Vec<String> {
        table().lines(most).into_iter().map(|l| l.into_iter().map(|c| c.text).collect()).collect()
    }

    #[test]
    fn columns_of_little_rank_leave_a_narrow_terminal_first() {
        assert_eq!(
            lines(80),
            ["name       count  words", "binance       12  all is well", "okx      3456789  日本語 é"]
        );
        assert_eq!(lines(20), ["name       count", "binance       12", "okx      3456789"]);
        assert_eq!(lines(10), ["name", "binance", "okx"]);
        assert_eq!(lines(5), ["name", "bina…", "okx"]);
        for most in 0..90 {
            assert!(lines(most).iter().all(|line| width(line) <= most), "{most}: {:?}", lines(most));
        }
    }

    #[test]
    fn text_is_whole_and_a_table_without_rows_says_so() {
        assert_eq!(
            table().text(9),
            "t\n  name       count  words\n  binance       12  all is well\n  okx      3456789  日本語 é\n"
        );
        assert_eq!(table().text(1), "t\n  name       count  words\n  binance       12  all is well\n  and 1 more\n");
        assert_eq!(TextTable { rows: Vec::new(), ..table() }.text(9), "t\n  none\n");
    }
}
