use super::*;
use crate::support::lab;
use std::time::Duration;

/// Who it is and by which name it reads; it has kept nothing else.
fn by_name(transports: &[&str]) -> Value {
    let auth = json!({ "token": alice(), "reader": "page" });
    json!({ "auth": auth, "transports": transports })
}

/// Comes to a node: how it resumes, and the ids and numbers that it hears up to an event of this name.
async fn hears(
    node: &Clients,
    server: &Server,
    database: &Database,
    transports: &[&str],
    last: &str,
) -> (Value, Vec<(Value, u64)>, Value) {
    let mut page = node.connect(&server.url, by_name(transports)).await;
    let subscribed = page.until_event("rowcast:subscribed").await[0].clone();
    let emit = format!("select rowcast.emit('c', '{last}', array['user:1'], '{{}}')");
    database.run(&emit).await;
    let mut events = page.events_until(last).await;
    let (_, end) = events.pop().expect("the last");
    let numbered = events.iter().filter(|(name, _)| name == "numbered");
    let heard = numbered.map(|(_, args)| (args[1]["id"].clone(), number(args)));
    let heard = heard.collect();
    page.disconnect().await;
    (
        subscribed["outcome"].clone(),
        heard,
        end[1]["bookmark"].clone(),
    )
}

/// A front end whose dialect has a word for it acknowledges by that, and is called back when it is
/// stored. The other node has never heard of it.
#[tokio::test]
async fn what_a_page_did_not_acknowledge_comes_again_on_another_node() {
    let node = Clients::start();
    for transports in WAYS {
        let database = lab().await;
        let server = serve_dialect(&database, "chat", |_| {}).await;
        let other = serve_dialect(&database, "chat", |_| {}).await;
        let mut page = node.connect(&server.url, by_name(transports)).await;
        let subscribed = page.until_event("rowcast:subscribed").await;
        assert_eq!(subscribed[0]["outcome"], "live", "{subscribed:?}");
        database.run(&numbered(1, 5, "user:1")).await;
        let mut bookmarks = Vec::new();
        for expected in 1..=5 {
            let args = page.until_event("numbered").await;
            assert_eq!(number(&args), expected);
            bookmarks.push(args[1]["bookmark"].clone());
        }
        let answer = page.ask("seen", json!([bookmarks[2]])).await;
        assert_eq!(answer, [json!({ "seen": bookmarks[2] })]);
        page.disconnect().await;
        database.run(&numbered(6, 5, "user:1")).await;
        let ids: Vec<i64> = database
            .ask("select array_agg(id order by id) from rowcast.event where name = 'numbered'")
            .await;
        let lacking: Vec<_> = ids
            .iter()
            .map(|id| json!(id.to_string()))
            .zip(1..)
            .collect();
        // Here, too, once it was there: nothing was acknowledged meanwhile.
        for (one, last) in [(&other, "there"), (&server, "here")] {
            let (outcome, heard, end) = hears(&node, one, &database, transports, last).await;
            assert_eq!((outcome, &*heard), (json!("recovered"), &lacking[3..]));
            if last == "here" {
                let mut page = node.connect(&other.url, by_name(transports)).await;
                page.connected().await;
                other.has_read(&database).await;
                let answer = page.ask("seen", json!([end])).await;
                assert_eq!(answer, [json!({ "seen": end })]);
                page.disconnect().await;
            }
        }
        let (outcome, heard, _) = hears(&node, &server, &database, transports, "again").await;
        assert_eq!((outcome, heard), (json!("recovered"), vec![]));
        server.stop().await;
        other.stop().await;
    }
}

#[tokio::test]
async fn an_acknowledgement_that_counts_for_nothing_is_told_why() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let node = Clients::start();
    let now = database.bookmark().await;
    let reader = by_name(&["websocket"]);
    let nobody = signed_in(&alice(), &["websocket"]);
    for (options, place, why) in [
        (&reader, json!("not-a-bookmark"), "bad-bookmark"),
        (&reader, json!(5), "bad-message"),
        (&nobody, json!(now), "no-reader"),
    ] {
        let page = client(&node, &server, options.clone()).await;
        let answer = page.ask("seen", json!([place])).await;
        assert_eq!(answer, [json!({ "why": why })], "{place}");
        page.disconnect().await;
    }
    server.stop().await;
}

/// Nobody waits for a welcome to speak. Here the database keeps it from joining meanwhile, and what is
/// said behind it on the same connection proves that its words have come.
#[tokio::test]
async fn what_a_page_says_at_once_is_heard() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |settings| {
        settings.database.statement_timeout = Duration::from_secs(60);
    })
    .await;
    let node = Clients::start();
    for transports in WAYS {
        let staff = node
            .connect_to(&server.url, "/staff", signed_in(&alice(), transports))
            .await;
        assert_eq!(staff.ask("where", json!([])).await, [json!({ "you": "1" })]);
        let locked = database.client("postgres").await;
        let lock = "begin; lock table rowcast.reader in access exclusive mode";
        locked.batch_execute(lock).await.expect("a lock");
        let mut page = staff.beside("/", by_name(transports)).await;
        page.connected().await;
        let (answer, ()) = tokio::join!(page.ask("where", json!([])), async {
            staff.ask("where", json!([])).await;
            locked.batch_execute("commit").await.expect("unlocked");
        });
        assert_eq!(answer, [json!({ "you": "1" })]);
        page.disconnect().await;
        staff.disconnect().await;
    }
    server.stop().await;
}
