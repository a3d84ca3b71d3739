//! The cases.

use std::time::Duration;

use bytes::Bytes;
use orderwire_types::testkit::{Failed, Outcome, holds, same};
use tokio::time::{Instant, interval};

use super::{Bench, Case, LONG, PATIENCE, entry, got};
use crate::Entry;

/// Lists the cases once, for the list and for the macro that makes a test of each. The
/// dollar sign comes as an argument, because a macro that defines a macro cannot write it.
macro_rules! suite {
    ($dollar:tt $($case:ident)+) => {
        /// Every case of the suite.
        pub fn cases() -> Vec<Case> {
            vec![$(Case::new(stringify!($case), |factory| Box::pin(async move {
                let bench = Bench::open(factory).await.map_err(|Failed(why)| why)?;
                $case(&bench).await.map_err(|Failed(why)| why)
            })),)+]
        }

        /// Makes a tokio test of every case of the suite. The argument makes an
        /// `Arc<dyn Factory>` anew for each.
        #[macro_export]
        macro_rules! cache_conformance {
            ($dollar factory:expr) => {
                $(
                    #[tokio::test]
                    async fn $case() {
                        $dollar crate::testkit::check(stringify!($case), $dollar factory).await;
                    }
                )+
            };
        }
    };
}

suite! { $
    an_entry_comes_back_as_it_was
    an_entry_of_nothing_comes_back
    a_large_entry_comes_back
    a_key_that_nobody_used_has_no_entry
    keys_are_told_apart_by_every_byte
    a_later_entry_takes_the_place_of_an_earlier_one
    a_forgotten_entry_is_gone_and_no_other
    forgetting_what_is_not_there_is_no_error
    an_entry_ends_after_its_time_to_live
    an_entry_without_time_to_live_is_not_kept
    near_is_what_was_put_or_nothing
    what_another_node_put_goes_before_what_is_near
    what_another_node_forgot_is_gone_where_it_is_shared
    a_check_passes
}

async fn an_entry_comes_back_as_it_was(b: &Bench) -> Outcome {
    let (key, put) = (b.key("k"), entry("body"));
    b.put(&key, &put, LONG).await?;
    same("the entry", b.get(&key).await?, Some(put.clone()))?;
    same("the entry, asked again", b.get(&key).await?, Some(put))
}

async fn an_entry_of_nothing_comes_back(b: &Bench) -> Outcome {
    let (key, put) =
        (b.key("k"), Entry { meta: Bytes::new(), generation: 0, computed_at_us: 0, ..entry("") });
    b.put(&key, &put, LONG).await?;
    same("the entry", b.get(&key).await?, Some(put))
}

async fn a_large_entry_comes_back(b: &Bench) -> Outcome {
    let body: Vec<u8> = (0..4_u32 << 20).map(|at| (at % 251) as u8).collect();
    let (key, put) = (b.key("k"), entry(body));
    b.put(&key, &put, LONG).await?;
    holds("the entry is the same", b.get(&key).await? == Some(put))
}

async fn a_key_that_nobody_used_has_no_entry(b: &Bench) -> Outcome {
    b.put(&b.key("k"), &entry("body"), LONG).await?;
    same("an entry", b.get(&b.key("other")).await?, None)
}

async fn keys_are_told_apart_by_every_byte(b: &Bench) -> Outcome {
    let long = "x".repeat(64 << 10);
    let keys = ["k", "K", "k ", "k\n", "k\r\n", "k\0", "*", "{k}", "é"].map(str::to_owned);
    let keys: Vec<_> = keys.into_iter().chain(["y", "z"].map(|end| format!("{long}{end}"))).collect();
    for (index, key) in keys.iter().enumerate() {
        b.put(&b.key(key), &entry(index.to_string()), LONG).await?;
    }
    for (index, key) in keys.iter().enumerate() {
        same("the entry of a key", b.get(&b.key(key)).await?, Some(entry(index.to_string())))?;
    }
    Ok(())
}

async fn a_later_entry_takes_the_place_of_an_earlier_one(b: &Bench) -> Outcome {
    let (key, first) = (b.key("k"), entry("the first, which is longer"));
    b.put(&key, &first, LONG).await?;
    // The caches do not judge: also of an earlier generation and time.
    let second = Entry { generation: 1, computed_at_us: first.computed_at_us - 1, ..entry("the second") };
    b.put(&key, &second, LONG).await?;
    same("the entry", b.get(&key).await?, Some(second))
}

async fn a_forgotten_entry_is_gone_and_no_other(b: &Bench) -> Outcome {
    let (one, other) = (b.key("one"), b.key("other"));
    b.put(&one, &entry("1"), LONG).await?;
    b.put(&other, &entry("2"), LONG).await?;
    b.forget(&one).await?;
    same("what was forgotten", b.get(&one).await?, None)?;
    same("what was forgotten, near", b.cache.near(&one).await, None)?;
    same("the other", b.get(&other).await?, Some(entry("2")))
}

async fn forgetting_what_is_not_there_is_no_error(b: &Bench) -> Outcome {
    b.forget(&b.key("nothing")).await
}

async fn an_entry_ends_after_its_time_to_live(b: &Bench) -> Outcome {
    let (short, long) = (b.key("short"), b.key("long"));
    b.put(&long, &entry("long"), LONG).await?;
    b.put(&short, &entry("short"), Duration::from_millis(400)).await?;
    same("an entry that has just been put", b.get(&short).await?, Some(entry("short")))?;
    let until = Instant::now() + PATIENCE;
    let mut again = interval(Duration::from_millis(20));
    while b.get(&short).await?.is_some() {
        holds("it ends", Instant::now() < until)?;
        again.tick().await;
    }
    same("what has ended, near", b.cache.near(&short).await, None)?;
    same("the other", b.get(&long).await?, Some(entry("long")))
}

async fn an_entry_without_time_to_live_is_not_kept(b: &Bench) -> Outcome {
    let key = b.key("k");
    b.put(&key, &entry("before"), LONG).await?;
    b.put(&key, &entry("without"), Duration::ZERO).await?;
    same("the entry", b.get(&key).await?, None)
}

async fn near_is_what_was_put_or_nothing(b: &Bench) -> Outcome {
    let key = b.key("k");
    same("near, before", b.cache.near(&key).await, None)?;
    for text in ["one", "two"] {
        b.put(&key, &entry(text), LONG).await?;
        let near = b.cache.near(&key).await;
        holds(
            &format!("near is nothing or {text}, not {near:?}"),
            near.is_none_or(|near| near == entry(text)),
        )?;
    }
    Ok(())
}

async fn what_another_node_put_goes_before_what_is_near(b: &Bench) -> Outcome {
    let (key, another) = (b.key("k"), b.another().await?);
    let later = |text: &'static str, by: i64| {
        let entry = entry(text);
        Entry { computed_at_us: entry.computed_at_us + by, ..entry }
    };
    let (first, second) = (later("first", 0), later("second", 1));
    b.put(&key, &first, LONG).await?;
    let shares = b.factory.shares();
    same("what the other knows", got(&*another, &key).await?, shares.then(|| first.clone()))?;
    let put = another.put(key.clone(), second.clone(), LONG).await;
    put.map_err(|error| super::says("put", &error))?;
    same("what the first knows", b.get(&key).await?, Some(if shares { second } else { first }))
}

async fn what_another_node_forgot_is_gone_where_it_is_shared(b: &Bench) -> Outcome {
    let (key, another) = (b.key("k"), b.another().await?);
    b.put(&key, &entry("body"), LONG).await?;
    another.forget(&key).await.map_err(|error| super::says("forget", &error))?;
    let third = b.another().await?;
    same("what a third one knows", got(&*third, &key).await?, None)
}

async fn a_check_passes(b: &Bench) -> Outcome {
    b.cache.check().await.map_err(|error| super::says("check", &error))
}
