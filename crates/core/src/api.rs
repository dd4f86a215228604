//! Types that the API, the console and the CLI share.
