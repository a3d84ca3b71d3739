//! Where answers are kept ready.

use super::{Report, has_password, unavailable};
use crate::model::{ByteSize, Config};

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let cache = &config.cache;
    if cache.bytes < ByteSize(1 << 20) || cache.bytes > ByteSize(1 << 40) {
        report.fault(&["cache", "bytes"], format!("{} is out of range: 1MiB to 1TiB", cache.bytes));
    }
    let is_encrypted = cache.url.starts_with("rediss://");
    let is_redis = is_encrypted || cache.url.starts_with("redis://");
    if !is_redis && !cache.is_in_memory() {
        let instead = "use memory:// (in this process), redis:// or rediss:// (a Redis that servers share)";
        report.fault(&["cache", "url"], unavailable(&cache.url, instead));
        return;
    }
    if has_password(&cache.url) {
        let detail =
            "a password does not belong into the URL; write it as cache.password: ${NAME} or file:/path";
        report.fault(&["cache", "url"], detail);
    }
    if let Some(password) = &cache.password {
        if is_redis {
            report.secret(&["cache", "password"], password);
        } else {
            report.fault(&["cache", "password"], "has no effect, because cache.url is no Redis");
        }
    }
    for (key, is_given) in [("ca", cache.ca.is_some()), ("certificate", cache.certificate.is_some())] {
        if is_given && !is_encrypted {
            let detail = "has no effect, because cache.url is not encrypted; use rediss://";
            report.fault(&["cache", key], detail);
        }
    }
    for (file, other, is_alone) in [
        ("certificate", "key", cache.certificate.is_some() && cache.key.is_none()),
        ("key", "certificate", cache.key.is_some() && cache.certificate.is_none()),
    ] {
        if is_alone {
            let detail = format!("{other} is missing: a certificate and its key belong together");
            report.fault(&["cache", file], detail);
        }
    }
}
