//! A table as it is shown, before anybody knows where: on a terminal of some width, or as text. Pure.

use ratatui::text::Span;

/// What a piece of text means; the screen gives it a look, plain text none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// A value.
    #[default]
    Plain,
    /// A heading.
    Head,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Of less interest.
    Dim,
    /// The best of its kind.
    Best,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// What that means.
    pub tone: Tone,
}

/// A cell of this tone.
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
    /// Its heading.
    pub name: &'static str,
    /// Numbers stand at the right.
    pub right: bool,
    /// Where there is no room, columns with the largest rank go first; those of rank 0 stay.
    pub rank: u8,
    /// It takes the room that there is, and is cut: for the last column.
    pub flexible: bool,
}

/// A text at the left.
#[must_use]
pub const fn left(name: &'static str, rank: u8) -> Column {
    Column { name, right: false, rank, flexible: false }
}

/// A number at the right.
#[must_use]
pub const fn right(name: &'static str, rank: u8) -> Column {
    Column { name, right: true, rank, flexible: false }
}

/// The words of others at the end, cut where the room ends.
#[must_use]
pub const fn rest(name: &'static str) -> Column {
    Column { name, right: false, rank: 0, flexible: true }
}

/// A table with a title.
#[derive(Clone, Debug, Default)]
pub struct TextTable {
    /// What it is.
    pub title: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// What stands there instead of no rows.
    pub empty: &'static str,
}

/// Blanks between two columns.
const GAP: usize = 2;
/// A cell is cut at this width: the words of others may be long.
const CELL_MAX: usize = 60;

/// A flexible column has this much at least, if it has that to say.
const FLEXIBLE_MIN: usize = 24;

/// A line: pieces that follow each other.
pub type Line = Vec<Cell>;

/// How many places of a terminal `text` takes.
#[must_use]
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text` cut to `most` places, with a mark where it is cut.
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
    /// The heading and the rows in at most `most` places each: columns of little rank are left out, then the
    /// last one is cut.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<Line> {
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

    /// Which columns fit, and how wide each is.
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

    fn line(&self, shown: &[(usize, usize)], cells: Vec<Cell>, most: usize) -> Line {
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

    /// As text, whatever its width: at most `rows_max` rows, and how many more there are.
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
