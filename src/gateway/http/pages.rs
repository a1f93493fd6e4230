//! Cache of rendered pages: however often a page is requested, it is rendered only a few times per interval. Pure; each
//! gateway has its own.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::gateway::http::page::Page;
use crate::time::{MS, MonoNs};

/// How long a page may be shared.
const SHARED_NS: u64 = 20 * MS;
/// Renderings of one page in that time, so that an occasional request receives a current page.
const RENDERED_MAX: u32 = 4;
/// Most bytes of cached pages.
const BYTES_MAX: usize = 4 << 20;

struct CachedPage {
    target: Box<str>,
    page: Arc<Page>,
    /// Time of its first rendering.
    since: MonoNs,
    rendered: u32,
}

impl CachedPage {
    fn size(&self) -> usize {
        self.target.len() + self.page.body.len()
    }
}

/// See the file's head.
#[derive(Default)]
pub(crate) struct PageCache {
    /// The oldest first.
    pages: VecDeque<CachedPage>,
    bytes: usize,
}

impl PageCache {
    /// The last rendering of `target` (path and query), if it may not be rendered again now.
    #[must_use]
    pub fn find(&self, target: &str, now: MonoNs) -> Option<Arc<Page>> {
        let is_valid = |it: &&CachedPage| it.rendered >= RENDERED_MAX && now.since(it.since) < SHARED_NS;
        self.pages.iter().filter(is_valid).find(|it| &*it.target == target).map(|it| Arc::clone(&it.page))
    }

    /// `page` was rendered for `target` at `now`.
    pub fn insert(&mut self, target: &str, page: Arc<Page>, now: MonoNs) {
        while self.pages.front().is_some_and(|it| now.since(it.since) >= SHARED_NS || self.bytes > BYTES_MAX) {
            self.bytes -= self.pages.pop_front().map_or(0, |it| it.size());
        }
        self.bytes += page.body.len();
        match self.pages.iter_mut().find(|it| &*it.target == target) {
            Some(it) => {
                self.bytes -= it.page.body.len();
                it.page = page;
                it.rendered += 1;
            }
            None => {
                self.bytes += target.len();
                self.pages.push_back(CachedPage { target: target.into(), page, since: now, rendered: 1 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(length: usize) -> Arc<Page> {
        Arc::new(Page { status: 200, kind: "", lines: "".into(), body: vec![0; length].into() })
    }

    #[test]
    fn a_page_is_rendered_a_few_times_per_interval_and_then_shared() {
        let mut pages = PageCache::default();
        let mut rendered = 0;
        for n in 0..1000 {
            let now = MonoNs(n * MS);
            if pages.find("/a", now).is_none() {
                rendered += 1;
                pages.insert("/a", page(1), now);
            }
        }
        assert_eq!(rendered, 50 * RENDERED_MAX);
        assert!(pages.find("/b", MonoNs(999 * MS)).is_none());
    }

    #[test]
    fn the_cache_is_bounded_and_old_pages_are_evicted() {
        let mut pages = PageCache::default();
        for n in 0..1000 {
            pages.insert(&format!("/a?{n}"), page(10_000), MonoNs(0));
            assert!(pages.bytes <= BYTES_MAX + 11_000);
        }
        pages.insert("/b", page(5), MonoNs(SHARED_NS));
        assert_eq!((pages.pages.len(), pages.bytes), (1, 7));
    }
}
