//! Pages as they were rendered a moment ago, shared by all who ask for them: however often a page is asked for, it is
//! rendered a few times in a while. Pure; each gateway's thread keeps its own.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::gateway::routes::Page;
use crate::time::{MS, MonoNs};

/// For how long a page may be shared.
const WHILE_NS: u64 = 20 * MS;
/// Renderings of one page in that time. Whoever asks now and then gets a page of this moment.
const RENDERED_MAX: u32 = 4;
/// Bytes of all pages that are kept.
const KEPT_MAX: usize = 4 << 20;

struct Kept {
    target: Box<str>,
    page: Arc<Page>,
    /// When the first of its renderings was made.
    since: MonoNs,
    rendered: u32,
}

/// See the file's head.
#[derive(Default)]
pub struct Pages {
    /// The one that was begun first comes first.
    kept: VecDeque<Kept>,
    bytes: usize,
}

impl Pages {
    /// The last rendering of `target` (path and query) if it may not be rendered again now.
    #[must_use]
    pub fn find(&self, target: &str, now: MonoNs) -> Option<Arc<Page>> {
        let is_it = |kept: &&Kept| kept.rendered >= RENDERED_MAX && now.since(kept.since) < WHILE_NS;
        self.kept.iter().filter(is_it).find(|kept| &*kept.target == target).map(|kept| Arc::clone(&kept.page))
    }

    /// `page` has just been rendered for `target`.
    pub fn keep(&mut self, target: &str, page: Arc<Page>, now: MonoNs) {
        while self.kept.front().is_some_and(|kept| now.since(kept.since) >= WHILE_NS || self.bytes > KEPT_MAX) {
            self.bytes -= self.kept.pop_front().map_or(0, |kept| size(&kept.target, &kept.page));
        }
        self.bytes += page.body.len();
        match self.kept.iter_mut().find(|kept| &*kept.target == target) {
            Some(kept) => {
                self.bytes -= kept.page.body.len();
                kept.page = page;
                kept.rendered += 1;
            }
            None => {
                self.bytes += target.len();
                self.kept.push_back(Kept { target: target.into(), page, since: now, rendered: 1 });
            }
        }
    }
}

fn size(target: &str, page: &Page) -> usize {
    target.len() + page.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(length: usize) -> Arc<Page> {
        Arc::new(Page { status: 200, kind: "", lines: "".into(), body: vec![0; length].into() })
    }

    #[test]
    fn a_page_is_rendered_so_often_in_a_while_and_then_shared() {
        let mut pages = Pages::default();
        let mut rendered = 0;
        for n in 0..1000 {
            let now = MonoNs(n * MS);
            if pages.find("/a", now).is_none() {
                rendered += 1;
                pages.keep("/a", page(1), now);
            }
        }
        assert_eq!(rendered, 50 * RENDERED_MAX);
        assert!(pages.find("/b", MonoNs(999 * MS)).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_and_forgotten() {
        let mut pages = Pages::default();
        for n in 0..1000 {
            pages.keep(&format!("/a?{n}"), page(10_000), MonoNs(0));
            assert!(pages.bytes <= KEPT_MAX + 11_000);
        }
        pages.keep("/b", page(5), MonoNs(WHILE_NS));
        assert_eq!((pages.kept.len(), pages.bytes), (1, 7));
    }
}
