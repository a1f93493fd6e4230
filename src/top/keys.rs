//! What each key does to the state of the display. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::top::state::{Act, Display, DisplayView};
use crate::top::views;

impl Display {
    /// Handles a key.
    pub fn press(&mut self, key: KeyEvent) -> Option<Act> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Act::Quit);
        }
        if self.is_typing {
            self.type_filter(key.code);
        } else if key.code == KeyCode::Char('q') {
            return Some(Act::Quit);
        } else {
            self.command(key.code)?;
        }
        Some(Act::Draw)
    }

    fn type_filter(&mut self, code: KeyCode) {
        let filter = &mut self.filters[self.view as usize];
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                filter.clear();
            }
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Char(c) if filter.len() < FILTER_MAX && !crate::log::is_unruly(c) => filter.push(c),
            _ => {}
        }
        (self.scroll, self.selected) = (0, 0);
    }

    /// Returns `None` for a key without a function.
    fn command(&mut self, code: KeyCode) -> Option<()> {
        let at = self.view as usize;
        let count = DisplayView::ALL.len();
        match code {
            KeyCode::Char(digit @ '1'..='6') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => self.turn_to((at + 1) % count),
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => self.turn_to((at + count - 1) % count),
            KeyCode::Char('s') => self.orders[at] = (self.orders[at] + 1) % self.view.orders().len(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc if self.is_helping => self.is_helping = false,
            KeyCode::Esc => {
                self.filters[at].clear();
                (self.scroll, self.selected) = (0, 0);
            }
            KeyCode::Char('?') => self.is_helping = !self.is_helping,
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.step(PAGE),
            KeyCode::PageUp => self.step(-PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            _ => return None,
        }
        Some(())
    }

    fn turn_to(&mut self, at: usize) {
        (self.view, self.scroll, self.is_helping) = (DisplayView::ALL[at], 0, false);
    }

    /// Moves the selection if the view has one, otherwise scrolls.
    fn step(&mut self, by: isize) {
        if self.view == DisplayView::Prices {
            let last = self.instruments().count().saturating_sub(1);
            self.selected = self.selected.saturating_add_signed(by).min(last);
        } else {
            let last = views::body(self, LINE_MAX).len().saturating_sub(1);
            self.scroll = self.scroll.saturating_add_signed(by).min(last);
        }
    }
}

/// Longest filter in bytes.
const FILTER_MAX: usize = 40;
/// Rows per page key.
const PAGE: isize = 10;
/// A width that no line exceeds, used to count lines.
const LINE_MAX: usize = 1000;
