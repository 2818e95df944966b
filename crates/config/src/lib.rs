//! hikyaku.toml: one typed structure, read strictly.
#![forbid(unsafe_code)]
