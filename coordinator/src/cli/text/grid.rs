//! Tables: columns two blanks apart, no lines. Where the terminal is narrow free text wraps, paths lose their
//! beginning, and columns that can be spared go.

use super::{Look, Tone, clean};
use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets,
};

/// Below this a wrapped column reads as a column of letters; the line is left to the terminal then.
const NARROWEST: u16 = 16;
/// Blanks between columns.
const GAP: usize = 2;

#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Always,
    WideOnly,
    Spare,
    Text,
    Path,
}

impl Column {
    pub const fn new(title: &'static str) -> Self {
        Column::of(title, Manner::Always)
    }

    /// Shown with `-o wide` only.
    pub const fn wide(title: &'static str) -> Self {
        Column::of(title, Manner::WideOnly)
    }

    /// Shown with `-o wide`, and elsewhere if the terminal has room for it.
    pub const fn spare(title: &'static str) -> Self {
        Column::of(title, Manner::Spare)
    }

    /// Free text, which gives way when the terminal is narrow.
    pub const fn text(title: &'static str) -> Self {
        Column::of(title, Manner::Text)
    }

    /// A path, of which the end matters most. One a table at most.
    pub const fn path(title: &'static str) -> Self {
        Column::of(title, Manner::Path)
    }

    const fn of(title: &'static str, manner: Manner) -> Self {
        Column { title, manner }
    }

    fn wraps(&self) -> bool {
        self.manner == Manner::Text
    }
}

/// One cell. Made of text from anywhere: it is cleaned here, so that no table can forget it.
#[derive(Clone, Debug)]
pub struct Item {
    text: String,
    tone: Tone,
}

impl Item {
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        let text = clean(text.as_ref());
        let text = if text.is_empty() { "-".into() } else { text };
        Item {
            text: text.into_owned(),
            tone,
        }
    }

    /// The last characters that fit.
    fn tail(&self, room: usize) -> Item {
        let length = self.text.chars().count();
        if length <= room {
            return self.clone();
        }
        let kept = self.text.chars().skip(length + 1 - room);
        Item {
            text: std::iter::once('…').chain(kept).collect(),
            tone: self.tone,
        }
    }

    /// A word that names a state, in the colour of that state.
    pub fn state(word: impl AsRef<str>) -> Self {
        Item::new(Tone::of_state(word.as_ref()), word)
    }
}

impl<T: AsRef<str>> From<T> for Item {
    fn from(text: T) -> Self {
        Item::new(Tone::Plain, text)
    }
}

pub struct Grid {
    columns: &'static [Column],
    rows: Vec<Vec<Item>>,
}

impl Grid {
    pub fn new(columns: &'static [Column]) -> Self {
        Grid {
            columns,
            rows: Vec::new(),
        }
    }

    /// One item for every column, those that may be hidden included.
    pub fn row<const N: usize>(&mut self, items: [Item; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(items.into());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table, each line ended; nothing at all without rows.
    pub fn render(&self, look: &Look) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let visible = self.visible(look);
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.force_no_tty();
        if look.color {
            table.enforce_styling();
        }
        let title = |&index: &usize| {
            let cell = Cell::new(self.columns[index].title);
            if look.color {
                cell.add_attribute(Attribute::Dim)
            } else {
                cell
            }
        };
        table.set_header(Row::from(visible.iter().map(title).collect::<Vec<_>>()));
        let room = self.room_for_path(&visible, look);
        for row in &self.rows {
            let cells = visible.iter().filter_map(|&index| {
                let item = row.get(index)?;
                let room = room.filter(|_| self.columns[index].manner == Manner::Path);
                Some(match room {
                    Some(room) => cell(&item.tail(room)),
                    None => cell(item),
                })
            });
            table.add_row(Row::from(cells.collect::<Vec<_>>()));
        }
        self.arrange(&mut table, &visible, look);
        let mut out = String::new();
        for line in table.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    fn visible(&self, look: &Look) -> Vec<usize> {
        let of = |spare: bool| {
            let shown = |index: &usize| match self.columns[*index].manner {
                Manner::Always | Manner::Text | Manner::Path => true,
                Manner::WideOnly => look.wide,
                Manner::Spare => spare,
            };
            (0..self.columns.len()).filter(shown).collect::<Vec<_>>()
        };
        let all = of(true);
        let fits = look
            .width
            .is_none_or(|width| self.least(&all) <= usize::from(width));
        if look.wide || fits { all } else { of(false) }
    }

    /// Columns of the terminal that these need when what can give way does.
    fn least(&self, visible: &[usize]) -> usize {
        let least = |&index: &usize| match self.columns[index].manner {
            Manner::Always | Manner::WideOnly | Manner::Spare => self.content(index),
            Manner::Text | Manner::Path => self.content(index).min(NARROWEST.into()),
        };
        let widths: usize = visible.iter().map(|index| least(index) + GAP).sum();
        widths.saturating_sub(GAP)
    }

    /// Of the widest cell, the title included.
    fn content(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let widest = cells.map(|item| item.text.chars().count()).max();
        widest
            .unwrap_or_default()
            .max(self.columns[index].title.len())
    }

    /// None: as long as it is.
    fn room_for_path(&self, visible: &[usize], look: &Look) -> Option<usize> {
        let width = look.width.filter(|_| !look.wide)?;
        let path = |index: &&usize| self.columns[**index].manner == Manner::Path;
        let own = self.content(*visible.iter().find(path)?);
        let others = self
            .least(visible)
            .saturating_sub(own.min(NARROWEST.into()));
        let room = usize::from(width).saturating_sub(others);
        (room >= NARROWEST.into()).then_some(room)
    }

    fn arrange(&self, table: &mut Table, visible: &[usize], look: &Look) {
        let widths = table.column_max_content_widths();
        let fixed: u16 = visible
            .iter()
            .zip(&widths)
            .filter(|(index, _)| !self.columns[**index].wraps())
            .map(|(_, width)| width.saturating_add(2))
            .fold(0, u16::saturating_add);
        for (at, &index) in visible.iter().enumerate() {
            let Some(column) = table.column_mut(at) else {
                continue;
            };
            column.set_padding((0, 2));
            if !self.columns[index].wraps() {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let room = look.width.map(|width| width.saturating_sub(fixed));
        let wraps = visible.iter().any(|&index| self.columns[index].wraps());
        match (look.width, room) {
            (Some(width), Some(room)) if wraps && room >= NARROWEST => {
                // The last column's padding may stick out; it is trimmed.
                table.set_content_arrangement(ContentArrangement::Dynamic);
                table.set_width(width.saturating_add(2));
            }
            (Some(_), Some(_)) | (None, _) | (_, None) => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
    }
}

fn cell(item: &Item) -> Cell {
    let cell = Cell::new(&item.text);
    match item.tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Warn => cell.fg(Color::DarkYellow),
        Tone::Bad => cell.fg(Color::DarkRed),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
        Tone::Strong => cell.add_attribute(Attribute::Bold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::new("NAME"),
        Column::wide("ID"),
        Column::text("DETAIL"),
    ];

    fn grid() -> Grid {
        let mut grid = Grid::new(COLUMNS);
        grid.row([
            "cp1".into(),
            "77".into(),
            "waits for the slot of cp2".into(),
        ]);
        grid.row(["worker-2".into(), "".into(), "".into()]);
        grid
    }

    fn look(width: Option<u16>, wide: bool) -> Look {
        Look {
            color: false,
            width,
            wide,
            now_ms: 0,
        }
    }

    #[test]
    fn lines_up() {
        assert_eq!(
            grid().render(&look(None, false)),
            "NAME      DETAIL\n\
             cp1       waits for the slot of cp2\n\
             worker-2  -\n"
        );
        assert_eq!(
            grid().render(&look(None, true)),
            "NAME      ID  DETAIL\n\
             cp1       77  waits for the slot of cp2\n\
             worker-2  -   -\n"
        );
    }

    #[test]
    fn only_free_text_wraps() {
        assert_eq!(
            grid().render(&look(Some(28), false)),
            "NAME      DETAIL\n\
             cp1       waits for the slot\n\
             \u{20}         of cp2\n\
             worker-2  -\n"
        );
        assert_eq!(
            grid().render(&look(Some(20), false)),
            grid().render(&look(None, false))
        );
    }

    #[test]
    fn paths_keep_their_end_and_spare_columns_go() {
        const COLUMNS: &[Column] = &[
            Column::new("NODE"),
            Column::path("PLACE"),
            Column::spare("ISSUER"),
        ];
        let mut grid = Grid::new(COLUMNS);
        grid.row([
            "cp1".into(),
            "/etc/kubernetes/pki/ca.crt".into(),
            "us".into(),
        ]);
        let whole = "NODE  PLACE                       ISSUER\n\
                     cp1   /etc/kubernetes/pki/ca.crt  us\n";
        assert_eq!(grid.render(&look(None, false)), whole);
        assert_eq!(grid.render(&look(Some(40), false)), whole);
        assert_eq!(
            grid.render(&look(Some(35), false)),
            "NODE  PLACE                  ISSUER\n\
             cp1   …ubernetes/pki/ca.crt  us\n"
        );
        assert_eq!(
            grid.render(&look(Some(28), false)),
            "NODE  PLACE\n\
             cp1   …kubernetes/pki/ca.crt\n"
        );
        assert_eq!(grid.render(&look(Some(10), true)), whole, "asked for all");
    }

    #[test]
    fn cells_are_cleaned_and_colored() {
        let mut grid = Grid::new(COLUMNS);
        grid.row(["\x1b[2J".into(), "".into(), Item::state("failed")]);
        let plain = grid.render(&look(None, false));
        assert!(
            plain.contains("\\u{1b}[2J") && !plain.contains('\x1b'),
            "{plain}"
        );
        let mut colored = look(Some(80), false);
        colored.color = true;
        let text = grid.render(&colored);
        assert!(
            text.contains("\x1b[38;5;1mfailed") || text.contains("\x1b[31mfailed"),
            "{text:?}"
        );
    }

    #[test]
    fn nothing_without_rows() {
        assert_eq!(Grid::new(COLUMNS).render(&look(None, false)), "");
    }
}
