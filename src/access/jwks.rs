//! Keys that are fetched: those that are there now, and when others are wanted.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use arc_swap::Guard;
use http::Uri;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::access::keys::Set;
use crate::config::Jwt;

/// Shortest time between two attempts to fetch the keys, whatever tokens name.
const PAUSE: Duration = Duration::from_mins(1);
/// Time between two attempts while there has been no set at all, and nobody with a token can connect.
const RETRY: Duration = Duration::from_secs(5);
/// Longest time between two, so that a key that has been withdrawn is not valid for ever.
const AGE: Duration = Duration::from_mins(10);
/// How long a client whose token names an unknown key waits for the keys to be fetched.
const PATIENCE: Duration = Duration::from_secs(6);

/// A set of keys at an address. It is fetched by whoever waits until it is [`due`](Self::due).
#[derive(Debug)]
pub struct Jwks {
    url: Uri,
    config: Jwt,
    fetched: ArcSwap<Fetched>,
    /// Told when a token names a key that is not there.
    wanted: Notify,
    /// How many attempts to fetch them have ended, and when the last did.
    attempts: watch::Sender<(u64, Option<Instant>)>,
}

/// What was there the last time that a set was.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) set: Set,
    /// What it was read from; nothing if there has been none yet.
    text: Box<[u8]>,
}

impl Fetched {
    fn read(config: &Jwt, text: &[u8]) -> Result<Self, String> {
        Set::read(config, text).map(|set| Self { set, text: text.into() })
    }
}

/// A set that has been fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// Whether it is another than the one before.
    pub differs: bool,
    /// What is wrong with some of its keys, unless that has been said before.
    pub flaw: Option<String>,
}

impl Jwks {
    /// A set that is to be fetched as `config` says. Until it has been, that is taken which `before` has
    /// fetched from the same address.
    pub(super) fn new(url: Uri, config: Jwt, before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.url == url).map(|before| before.fetched.load());
        let fetched = before.and_then(|before| Fetched::read(&config, &before.text).ok()).unwrap_or_default();
        Self {
            url,
            config,
            fetched: ArcSwap::from_pointee(fetched),
            wanted: Notify::new(),
            attempts: watch::Sender::new((0, None)),
        }
    }

    /// Where the set is.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Whether there has been no set yet. One without keys is a set: they have been withdrawn.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.fetched.load().text.is_empty()
    }

    /// Whether nobody has tried yet to fetch it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.attempts.borrow().1.is_none()
    }

    pub(super) fn fetched_last(&self) -> Guard<Arc<Fetched>> {
        self.fetched.load()
    }

    /// Waits until the set should be fetched: at once the first time, soon as long as there has been no set,
    /// then when a token names a key that is not in it, and in any case now and then.
    pub async fn due(&self) {
        let (_, last) = *self.attempts.borrow();
        let Some(last) = last else { return };
        if self.is_missing() {
            return sleep(RETRY.saturating_sub(last.elapsed())).await;
        }
        let until = |age: Duration| age.saturating_sub(last.elapsed());
        if timeout(until(AGE), self.wanted.notified()).await.is_ok() {
            sleep(until(PAUSE)).await;
        }
    }

    /// An attempt has ended with these bytes, or failed. The keys that were there stay when it has failed, or
    /// when the bytes are no set of keys.
    pub fn fetched(&self, outcome: Result<impl AsRef<[u8]>, String>) -> Result<News, String> {
        let fetched = outcome.and_then(|bytes| Fetched::read(&self.config, bytes.as_ref()));
        let outcome = fetched.map(|fetched| {
            let differs = fetched.text != self.fetched.load().text;
            let flaw = fetched.set.flaw.clone().filter(|_| differs || self.is_new());
            self.fetched.store(Arc::new(fetched));
            News { differs, flaw }
        });
        self.attempts.send_modify(|(count, last)| {
            *count += 1;
            *last = Some(Instant::now());
        });
        outcome
    }

    /// A token names a key that is not there: waits until the next attempt has ended, if one is made
    /// now; says whether one was.
    pub(super) async fn refreshed(&self) -> bool {
        let mut attempts = self.attempts.subscribe();
        let (_, last) = *attempts.borrow_and_update();
        self.wanted.notify_one();
        if !self.is_missing() && last.is_some_and(|last| last.elapsed() < PAUSE) {
            return false;
        }
        matches!(timeout(PATIENCE, attempts.changed()).await, Ok(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// The public key of RFC 7517, appendix A.1, by two names.
    const FIRST: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"first","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
    const SECOND: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"second","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

    fn config(more: &str) -> Jwt {
        let text = format!("algorithms = ['ES256']\njwks_url = 'https://id.example/keys'\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn jwks(before: Option<&Jwks>, url: &'static str, config: Jwt) -> Jwks {
        Jwks::new(Uri::from_static(url), config, before)
    }

    fn new() -> Jwks {
        jwks(None, "https://id.example/keys", config(""))
    }

    fn failure() -> Result<&'static str, String> {
        Err("no answer".to_owned())
    }

    /// How long it takes until the set is due.
    async fn wait(jwks: &Jwks) -> Duration {
        let began = Instant::now();
        jwks.due().await;
        began.elapsed()
    }

    fn has(jwks: &Jwks, id: &str) -> bool {
        let fetched = jwks.fetched_last();
        let algorithm = crate::access::keys::algorithm(config::Algorithm::ES256);
        fetched.set.keys.candidates(algorithm, Some(id)).next().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_is_due_at_once_then_soon_while_there_are_no_keys_and_later_now_and_then() {
        let jwks = new();
        assert!(jwks.is_new() && jwks.is_missing());
        assert_eq!(wait(&jwks).await, Duration::ZERO);
        assert_eq!(jwks.fetched(failure()), Err("no answer".to_owned()));
        assert!(!jwks.is_new() && jwks.is_missing());
        assert_eq!(wait(&jwks).await.as_secs(), RETRY.as_secs());
        jwks.fetched(Ok(FIRST)).unwrap();
        assert!(!jwks.is_missing());
        assert_eq!(wait(&jwks).await.as_secs(), AGE.as_secs());
        // The keys stay when they cannot be fetched again, and nobody hurries then.
        for outcome in [failure(), Ok("{"), Ok(""), Ok("{\"keys\":{}}")] {
            assert!(jwks.fetched(outcome).is_err());
            assert!(has(&jwks, "first"));
            assert_eq!(wait(&jwks).await.as_secs(), AGE.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_without_keys_withdraws_all_of_them_and_nobody_hurries_then() {
        let jwks = new();
        jwks.fetched(Ok(FIRST)).unwrap();
        let news = jwks.fetched(Ok("{\"keys\":[]}")).unwrap();
        let flaw = Some("none of its keys is for one of `algorithms`".to_owned());
        assert_eq!(news, News { differs: true, flaw });
        assert!(!has(&jwks, "first") && !jwks.is_missing());
        assert_eq!(
            jwks.fetched(Ok("{\"keys\":[]}")),
            Ok(News { differs: false, flaw: None }),
            "it is said once"
        );
        assert_eq!(wait(&jwks).await.as_secs(), AGE.as_secs());
        jwks.fetched(Ok("{\"keys\":[]}")).unwrap();
        assert!(!jwks.refreshed().await, "it has just been fetched");
        let again = self::jwks(Some(&jwks), "https://id.example/keys", config(""));
        assert!(!again.is_missing(), "what has been withdrawn is not awaited");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_of_unknown_keys_make_it_due_at_most_once_a_minute() {
        let jwks = Arc::new(new());
        jwks.fetched(Ok(FIRST)).unwrap();
        for _ in 0..1000 {
            assert!(!jwks.refreshed().await, "it has just been fetched");
        }
        assert_eq!(wait(&jwks).await.as_secs(), PAUSE.as_secs());
        jwks.fetched(Ok(FIRST)).unwrap();
        assert_eq!(wait(&jwks).await.as_secs(), AGE.as_secs(), "that many tokens are one reason");

        jwks.fetched(Ok(FIRST)).unwrap();
        tokio::time::advance(PAUSE).await;
        // After a minute the first of them has it fetched at once, and all of them wait for that.
        let asking: Vec<_> = (0..3)
            .map(|_| {
                tokio::spawn({
                    let jwks = jwks.clone();
                    async move { jwks.refreshed().await }
                })
            })
            .collect();
        assert_eq!(wait(&jwks).await, Duration::ZERO);
        assert_eq!(jwks.fetched(Ok(SECOND)), Ok(News { differs: true, flaw: None }));
        for asking in asking {
            assert!(asking.await.unwrap());
        }
        assert!(has(&jwks, "second") && !has(&jwks, "first"));
        assert!(!jwks.refreshed().await);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_long_for_keys_that_do_not_come() {
        let jwks = Arc::new(new());
        let began = Instant::now();
        assert!(!jwks.refreshed().await);
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        let asking = tokio::spawn({
            let jwks = jwks.clone();
            async move { jwks.refreshed().await }
        });
        tokio::task::yield_now().await;
        let _ = jwks.fetched(failure());
        assert!(asking.await.unwrap(), "an attempt that has failed has ended too");
    }

    #[test]
    fn keys_are_others_when_the_set_is_another() {
        let jwks = new();
        for (set, differs) in [(FIRST, true), (FIRST, false), (SECOND, true), (FIRST, true)] {
            assert_eq!(jwks.fetched(Ok(set)), Ok(News { differs, flaw: None }));
        }
    }

    #[test]
    fn other_rules_of_tokens_keep_the_keys_of_the_same_address() {
        let before = new();
        before.fetched(Ok(FIRST)).unwrap();
        let same = jwks(Some(&before), "https://id.example/keys", config("leeway = '1s'"));
        assert!(has(&same, "first") && same.is_new());
        let elsewhere = jwks(Some(&before), "https://id.example/others", config(""));
        assert!(elsewhere.is_missing());
        let text = "algorithms = ['EdDSA']\njwks_url = 'https://id.example/keys'";
        let other = jwks(Some(&before), "https://id.example/keys", toml::from_str(text).unwrap());
        assert!(!other.is_missing() && !has(&other, "first"), "none of the keys is for that");
        let news = other.fetched(Ok(FIRST)).unwrap();
        assert!(!news.differs && news.flaw.is_some(), "under new rules it is said again: {news:?}");
    }
}
