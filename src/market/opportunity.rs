//! Opportunities: see issue.
