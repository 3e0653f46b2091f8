//! Who gets in: every bad token is refused on both transports, every way to bring a good one works,
//! a connection ends with its token, and no token reaches a log.

use crate::support::driver::Driver;
use crate::support::{
    self, Database, EVERY_TRANSPORT, SECRET, Server, Transport, brief, connect, eventually, marker,
    serve, serve_process, sse, token, token_with, try_sse, ws, ws_with,
};
use nix::sys::signal::Signal;
use rowcast::clock::unix_now;
use serde_json::{Value, json};
use std::time::Duration;

/// Nobody has its private half: it was thrown away when this was made.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjQWxzZrNWLPz79jRO9wO
KdxV+cMOU62sT/MML1SoNZBOmzbbF//vX/NRPIhOChQyMKBNGjMcFYC5QTJSxVJy
l06ouUeLJsvOWRjXruZDmsO/5rdhmxQ888IueWycSvdALDZ+YcTCkVttrgAyLDXa
A3nEx7uMZJ+NpItprOc0tNH6lzXPbEh4AKFxbPQ0pJ/wgg56zREwmmG+0N5qii6T
ChJY0aafsJE2VeBfBmPfHtqwwLffcJ/i/viDUxu6kAC/O8z+HEV/7CiyO8pkRhNg
WL7jqv2111b+AjSgBz3d4h4hJpfvDMhmWfqnCtWjEpjyja5teFO6+8sLFDk530Zr
ZwIDAQAB
-----END PUBLIC KEY-----
";

/// Refused before a single frame, on both transports, with this word in the explanation.
async fn assert_refused(server: &Server, token: &str, word: &str) {
    let mut socket = ws(server, token, "").await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 1008, "{word}: {reason}");
    assert!(reason.contains(word), "{word}: {reason}");
    assert!(socket.received.is_empty(), "{word}: {:?}", socket.received);
    let Err(answer) = try_sse(server, token, "", &[]).await else {
        panic!("SSE let it in: {word}");
    };
    assert_eq!(answer.status, 401, "{word}: {answer:?}");
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "unauthorized", "{word}");
    assert!(
        error["message"].as_str().is_some_and(|m| m.contains(word)),
        "{word}: {error}"
    );
}

#[tokio::test]
async fn bad_tokens_are_refused_on_both_transports() {
    let database = support::database().await;
    let server = serve(&database, |settings| {
        settings.auth.issuer = Some("https://login.example.org/".into());
        settings.auth.audience = Some("rowcast".into());
    })
    .await;
    let now = unix_now();
    let good = json!({ "sub": "1", "exp": now + 600, "aud": ["other", "rowcast"],
        "iss": "https://login.example.org/" });
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token_with(&claims)
    };
    let genuine = token_with(&good);
    ws(&server, &genuine, "").await.expect("welcome").await;

    for (bad, word) in [
        (changed("exp", (now - 1).into()), "expired"),
        (changed("exp", json!(null)), "missing-expiry"),
        (changed("nbf", (now + 300).into()), "not-yet-valid"),
        (
            changed("iss", "https://evil.example/".into()),
            "wrong-issuer",
        ),
        (changed("iss", json!(null)), "wrong-issuer"),
        (changed("aud", "another".into()), "wrong-audience"),
        (changed("aud", json!(null)), "wrong-audience"),
        (changed("org", "a\0".into()), "malformed"),
        (String::new(), "no token"),
        ("garbage".into(), "malformed"),
        ("a.b.c".into(), "malformed"),
    ] {
        assert_refused(&server, &bad, word).await;
    }

    let mut parts = genuine.split('.');
    let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
    let (header, payload) = (header.expect("a header"), payload.expect("claims"));
    let signature = signature.expect("a signature");
    // {"alg":"none","typ":"JWT"}, in the spellings that libraries have fallen for.
    for none in [
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
        "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0",
    ] {
        for forged in [
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            format!("{none}.{payload}"),
        ] {
            assert_refused(&server, &forged, "token was refused").await;
        }
    }
    let other = token_with(&json!({ "sub": "2", "exp": now + 600 }));
    let others = other.split('.').nth(1).expect("claims");
    let forged = format!("{header}.{others}.{signature}");
    assert_refused(&server, &forged, "bad-signature").await;
    let forged = rowcast::token::mint(
        "another secret that is also of more than 32 bytes",
        &good,
        jsonwebtoken::Algorithm::HS256,
    )
    .expect("claims are JSON");
    assert_refused(&server, &forged, "bad-signature").await;
    server.stop().await;
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let database = support::database().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), PUBLIC_KEY).expect("a file");
    let server = serve(&database, |settings| {
        settings.auth.hs256_secret = None;
        settings.auth.public_key_file = Some(file.path().to_owned());
    })
    .await;
    let claims = json!({ "sub": "1", "exp": unix_now() + 600 });
    for algorithm in [
        jsonwebtoken::Algorithm::HS256,
        jsonwebtoken::Algorithm::HS384,
        jsonwebtoken::Algorithm::HS512,
    ] {
        for secret in [PUBLIC_KEY, PUBLIC_KEY.trim_end()] {
            let forged = rowcast::token::mint(secret, &claims, algorithm).expect("JSON");
            assert_refused(&server, &forged, "algorithm").await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn anonymous_only_where_it_is_configured() {
    let database = support::database().await;
    let server = serve(&database, |settings| {
        settings.auth.anonymous_claims = Some(r#"{"role":"anonymous"}"#.into());
    })
    .await;
    for transport in EVERY_TRANSPORT {
        let mut anybody = connect(transport, &server, "", "").await;
        let welcome = anybody.expect("welcome").await;
        assert!(welcome["user"].is_null(), "{welcome}");
        assert!(welcome["expiresAt"].is_null(), "{welcome}");
        marker(&database, &["*"]).await;
        anybody.expect_event("marker").await;
    }
    // Who brings a token that is bad is refused, and not let in as somebody else.
    assert_refused(&server, "garbage", "malformed").await;
    let expired = token_with(&json!({ "sub": "1", "exp": unix_now() - 1 }));
    assert_refused(&server, &expired, "expired").await;
    server.stop().await;
}

#[tokio::test]
async fn every_way_to_bring_a_token() {
    let database = support::database().await;
    let server = serve(&database, |_| ()).await;
    let token = token("7", "", "");
    let bearer = format!("bearer {token}");
    let query = format!("token={token}");
    let protocols = format!("rowcast.v1, bearer.{token}");
    let mut sockets = [
        ws_with(&server, "", &[("authorization", &bearer)]).await,
        ws_with(&server, &query, &[]).await,
        // The client refuses an answer that does not choose exactly one of those it offered.
        ws_with(&server, "", &[("sec-websocket-protocol", &protocols)]).await,
        sse(&server, &token, "").await,
        sse(&server, "", &query).await,
    ];
    for socket in &mut sockets {
        assert_eq!(socket.expect("welcome").await["user"], "7");
    }
    server.stop().await;
}

/// What both transports say to these headers: nothing is wrong, or the word of the refusal.
async fn verdicts(server: &Server, headers: &[(&str, &str)]) -> [Result<String, String>; 2] {
    let mut socket = ws_with(server, "", headers).await;
    let first = match socket.next_or_end().await {
        Ok(welcome) => Ok(welcome["user"].as_str().unwrap_or("").to_owned()),
        Err((1008, reason)) => Err(reason),
        Err(other) => panic!("neither in nor refused: {other:?}"),
    };
    let second = match try_sse(server, "", "", headers).await {
        Ok(mut stream) => {
            let welcome = stream.expect("welcome").await;
            Ok(welcome["user"].as_str().unwrap_or("").to_owned())
        }
        Err(answer) => {
            let error = &answer.json()["error"];
            let word = error["code"].as_str().unwrap_or("");
            assert_eq!(answer.status == 403, word == "forbidden-origin");
            Err(error["message"].as_str().unwrap_or("").to_owned())
        }
    };
    [first, second]
}

async fn assert_in(server: &Server, headers: &[(&str, &str)], user: &str) {
    for verdict in verdicts(server, headers).await {
        assert_eq!(verdict.as_deref(), Ok(user), "{headers:?}");
    }
}

async fn assert_out(server: &Server, headers: &[(&str, &str)], why: &str) {
    for verdict in verdicts(server, headers).await {
        let Err(word) = verdict else {
            panic!("let in: {headers:?}");
        };
        assert!(word.contains(why), "{headers:?}: {word}");
    }
}

/// The Origins that a cookie is good with, and those it is not.
async fn assert_cookie_needs_origin(server: &Server, cookie: &str, user: &str) {
    let cookie = ("cookie", cookie);
    let own = format!("http://{}", server.address);
    assert_in(
        server,
        &[cookie, ("origin", "https://app.example.org")],
        user,
    )
    .await;
    assert_in(server, &[cookie, ("origin", &own)], user).await;
    assert_in(server, &[cookie, ("sec-fetch-site", "same-origin")], user).await;
    // By plain http browsers send neither.
    for page in [&format!("{own}/page?q=1"), "https://app.example.org"] {
        assert_in(server, &[cookie, ("referer", page)], user).await;
    }
    let own_page = ("referer", own.as_str());
    for evil in [
        "https://evil.example",
        "https://app.example.org.evil.example",
        "null",
        "",
    ] {
        let why = "this Origin";
        assert_out(server, &[cookie, ("origin", evil), own_page], why).await;
        let page = format!("{evil}/{own}/");
        assert_out(server, &[cookie, ("referer", &page)], why).await;
    }
    assert_out(server, &[cookie], "a cookie needs Origin").await;
    let elsewhere = ("sec-fetch-site", "same-site");
    assert_out(server, &[cookie, elsewhere, own_page], "this Origin").await;
}

#[tokio::test]
async fn a_cookie_with_a_token_needs_an_allowed_origin() {
    let database = support::database().await;
    let server = serve(&database, |settings| {
        settings.auth.cookie = Some("access_token".into());
        settings.http.allowed_origins = vec!["https://app.example.org".into()];
    })
    .await;
    let cookie = format!("theme=dark; access_token={}; x=y", token("7", "", ""));
    assert_cookie_needs_origin(&server, &cookie, "7").await;
    let ours = ("origin", "https://app.example.org");
    for mut verdict in [
        ws_with(&server, "token=", &[("cookie", &cookie), ours]).await,
        try_sse(&server, "", "token=", &[("cookie", &cookie), ours])
            .await
            .unwrap(),
    ] {
        verdict.expect("welcome").await;
    }
    let beside = format!("name=José; {cookie}; access_token=garbage");
    assert_in(&server, &[("cookie", &beside), ours], "7").await;
    assert_out(
        &server,
        &[("cookie", "access_token=garbage"), ours],
        "malformed",
    )
    .await;
    assert_out(&server, &[("cookie", "theme=dark"), ours], "no token").await;
    let bearer = format!("Bearer {}", token("8", "", ""));
    let anywhere = ("origin", "https://anywhere.example");
    assert_out(&server, &[("authorization", &bearer), anywhere], "Origin").await;
    assert_in(&server, &[("authorization", &bearer), ours], "8").await;
    server.stop().await;
}

async fn with_sessions() -> Database {
    let database = support::database().await;
    database
        .run(
            "create table public.sessions (id text primary key, user_id text, ends timestamptz);
             grant select on public.sessions to rowcast_owner;
             create function public.session_claims(p_id text) returns jsonb language sql stable as $$
               select jsonb_build_object('sub', user_id, 'exp', extract(epoch from ends)::bigint)
               from public.sessions where id = p_id
             $$;
             insert into rowcast.session_rule values ('sid', 'public.session_claims(text)');
             insert into public.sessions values
               ('s3cret', '7', now() + interval '10 minutes'),
               ('schlüssel', '9', now() + interval '10 minutes'),
               ('over', '8', now() - interval '1 minute')",
        )
        .await;
    database
}

#[tokio::test]
async fn a_session_of_the_application_is_exchanged_in_sql() {
    let database = with_sessions().await;
    let server = serve(&database, |settings| {
        settings.http.allowed_origins = vec!["https://app.example.org".into()];
    })
    .await;
    assert_cookie_needs_origin(&server, "theme=dark; sid=s3cret", "7").await;
    let ours = ("origin", "https://app.example.org");
    assert_out(&server, &[("cookie", "sid=unknown"), ours], "session").await;
    assert_out(&server, &[("cookie", "sid='"), ours], "session").await;
    assert_out(&server, &[("cookie", "sid=over"), ours], "expired").await;
    // More than ASCII goes to the database as bytes.
    assert_in(&server, &[("cookie", "sid=schlüssel"), ours], "9").await;
    assert_out(&server, &[("cookie", "other=s3cret"), ours], "no token").await;
    // What any script of the site sets beside it signs nobody out.
    for beside in ["name=José; sid=s3cret", "sid=s3cret; =; José"] {
        assert_in(&server, &[("cookie", beside), ours], "7").await;
    }
    // Of two with one name, the first: it is the nearer to the path, and no other host's.
    assert_in(&server, &[("cookie", "sid=s3cret; sid=over"), ours], "7").await;
    assert_out(
        &server,
        &[("cookie", "sid=over; sid=s3cret"), ours],
        "expired",
    )
    .await;
    database.run("delete from public.sessions").await;
    assert_out(&server, &[("cookie", "sid=s3cret"), ours], "session").await;
    server.stop().await;
}

/// A browser says no more of such a page than its Referer.
#[tokio::test]
async fn a_page_of_an_intranet_without_tls_comes_in_by_its_session() {
    let database = with_sessions().await;
    let server = serve(&database, |_| ()).await;
    let driver = Driver::start().await;
    let page = server.url.replace("127.0.0.1", "intranet.test");
    let page = format!("{page}/healthz");
    let page = driver.visit(&page, json!({})).await;
    let told = page
        .evaluate(
            "new Promise(async (done) => {
               document.cookie = 'sid=s3cret'
               const polled = await fetch('/poll')
               const stream = new EventSource('/sse')
               stream.addEventListener('rowcast:welcome', (event) => done([polled.status, event.data]))
               stream.onerror = () => done([polled.status, stream.readyState])
             })",
        )
        .await;
    assert_eq!(told[0], 200, "{told}");
    assert!(
        told[1]
            .as_str()
            .is_some_and(|welcome| welcome.contains(r#""user":"7""#)),
        "{told}"
    );
    server.stop().await;
}

/// Rooms `org:N` are for those whose claim `org` is N.
const ORG_RULE: &str = "
    create function public.may_join_org(claims jsonb, room text) returns boolean language sql as $$
      select room = 'org:' || (claims ->> 'org')
    $$;
    insert into rowcast.room_rule values ('org:*', 'public.may_join_org(jsonb, text)')";

#[tokio::test]
async fn auth_renews_in_band_and_admits_anew() {
    let database = support::database().await;
    database.run(ORG_RULE).await;
    let server = serve(&database, |_| ()).await;
    let exp = unix_now() + 600;
    let mut socket = ws(&server, &token("1", "", "1"), "rooms=org:1").await;
    assert_eq!(socket.expect("welcome").await["rooms"], json!(["org:1"]));

    socket
        .send(json!({ "type": "auth", "token": token("2", "", "1"), "id": 1 }))
        .await;
    let error = socket.expect("error").await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("unauthorized"), &json!(1))
    );
    socket
        .send(json!({ "type": "auth", "token": "garbage", "id": 2 }))
        .await;
    let error = socket.expect("error").await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("unauthorized"), &json!(2))
    );
    socket.send(json!({ "type": "auth", "id": 3 })).await;
    assert_eq!(socket.expect("error").await["code"], "bad-message");
    marker(&database, &["org:1"]).await;
    socket.expect_event("marker").await;

    // The same rights: nothing changes but the end.
    let again = token_with(&json!({ "sub": "1", "org": "1", "exp": exp }));
    socket
        .send(json!({ "type": "auth", "token": again, "id": 4 }))
        .await;
    let renewed = socket.expect("authenticated").await;
    assert_eq!(
        (&renewed["id"], &renewed["expiresAt"]),
        (&json!(4), &json!(exp))
    );
    marker(&database, &["org:1"]).await;
    socket.expect_event("marker").await;

    // Moved to another organization: the old one's room is gone, its own may be joined.
    socket
        .send(json!({ "type": "auth", "token": token("1", "", "2"), "id": 5 }))
        .await;
    let error = socket.expect("error").await;
    assert_eq!(
        (&error["code"], &error["room"]),
        (&json!("forbidden"), &json!("org:1"))
    );
    socket.expect("authenticated").await;
    database
        .run("select rowcast.emit('c', 'not-for-it', array['org:1'], '{}')")
        .await;
    socket
        .send(json!({ "type": "subscribe", "rooms": ["org:2"] }))
        .await;
    socket.expect("subscribed").await;
    marker(&database, &["org:2"]).await;
    socket.expect_event("marker").await;
    server.stop().await;
}

/// As `docs/protocol.md` has it: a renewed token brings its home rooms, those that were left, too.
#[tokio::test]
async fn auth_joins_home_rooms_and_names_them() {
    let database = support::database().await;
    let rule = "
        create function public.home_of(claims jsonb) returns text[] language sql as $$
          select array['user:' || (claims ->> 'sub'), 'org:' || (claims ->> 'org')]
        $$;
        insert into rowcast.home_rule values ('public.home_of(jsonb)')";
    database.run(rule).await;
    let server = serve(&database, |_| ()).await;
    let mut socket = ws(&server, &token("1", "", "1"), "").await;
    let welcome = socket.expect("welcome").await;
    assert_eq!(welcome["rooms"], json!(["user:1", "org:1"]));
    let left = json!({ "type": "unsubscribe", "rooms": ["user:1", "not:mine"] });
    socket.send(left).await;
    let left = socket.expect("unsubscribed").await;
    assert_eq!(left["rooms"], json!(["user:1"]));

    let renewed = json!({ "type": "auth", "token": token("1", "", "2"), "id": 1 });
    socket.send(renewed).await;
    let lost = socket.expect("error").await;
    assert_eq!(lost["room"], "org:1");
    socket.expect("authenticated").await;
    let joined = socket.expect("subscribed").await;
    let named = (&joined["id"], &joined["rooms"], &joined["outcome"]);
    assert_eq!(
        named,
        (&json!(null), &json!(["user:1", "org:2"]), &json!("live"))
    );
    for room in ["user:1", "org:2"] {
        marker(&database, &[room]).await;
        socket.expect_event("marker").await;
    }
    server.stop().await;
}

/// As where a rule is withdrawn: what a slow reader has not got yet is not theirs any more.
#[tokio::test]
async fn what_waits_for_a_room_that_the_new_token_loses_is_not_delivered() {
    let database = support::database().await;
    database.run(ORG_RULE).await;
    let server = serve(&database, |settings| {
        settings.limits.queue_bytes = 100_000_000;
        settings.limits.write_stall = Duration::from_secs(60);
    })
    .await;
    let mut socket = ws(&server, &token("1", "", "1"), "rooms=org:1").await;
    socket.expect("welcome").await;
    let emit = "insert into rowcast.event (channel, name, rooms, data)
        select 'c', 'secret', array['org:1'], to_json(repeat('x', 100000)) from generate_series(1, 20)";
    let sent = 20 * server.fill(&database, emit, 5_000_000).await;
    marker(&database, &["*"]).await;
    server.has_read(&database).await;
    socket
        .send(json!({ "type": "auth", "token": token("1", "", "2"), "id": 1 }))
        .await;
    eventually("the room is empty", async || {
        // The one of everybody is left.
        (server.gate.hub.sizes().rooms == 1).then_some(())
    })
    .await;
    let before = socket.frames_until("marker").await;
    let came = before.len();
    assert!(came + 40 < sent, "{came} of {sent}");
    // It was told in its place in the queue, behind a bookmark that lies behind what is left out.
    let last = before.last().expect("the word that it was taken");
    assert_eq!(
        (&last["code"], &last["room"], &last["id"]),
        (&json!("forbidden"), &json!("org:1"), &Value::Null)
    );
    socket.expect("authenticated").await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_never_outlives_its_token() {
    let database = support::database().await;
    let server = serve(&database, |_| ()).await;
    let (brief, _) = brief(json!({ "sub": "1" }));
    let mut renewed = ws(&server, &brief, "").await;
    renewed.expect("welcome").await;
    let mut socket = ws(&server, &brief, "").await;
    let mut stream = sse(&server, &brief, "").await;
    renewed
        .send(json!({ "type": "auth", "token": token("1", "", "") }))
        .await;
    renewed.expect("authenticated").await;

    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4001, "{reason}");
    assert_eq!(stream.closed().await, (200, "token-expired".into()));
    assert!(stream.retry.is_some());
    for frame in socket.received.iter().chain(&stream.received) {
        assert!(
            frame["type"] == "welcome" || frame["code"] == "token-expired",
            "{frame}"
        );
    }
    marker(&database, &["*"]).await;
    renewed.expect_event("marker").await;
    server.stop().await;
}

#[tokio::test]
async fn no_token_and_no_payload_reach_the_log() {
    let database = with_sessions().await;
    database
        .run(
            "insert into rowcast.channel (name, delivery, rooms, event) values
               ('old', 'notify', array['*'], 'old'), ('unmapped', 'notify', array['user:{userId}'], 'old')",
        )
        .await;
    let env = [
        ("ROWCAST__LOG__LEVEL", "trace"),
        ("ROWCAST__AUTH__COOKIE", "access_token"),
    ];
    let mut program = serve_process(&database, &env).await;
    let own = format!("http://{}", program.address);
    let tokens: Vec<String> = (1..=9)
        .map(|user| token(&user.to_string(), "", ""))
        .collect();
    let bearer = format!("Bearer {}", tokens[0]);
    let by_query = format!("token={}", tokens[1]);
    let protocols = format!("rowcast.v1, bearer.{}", tokens[2]);
    let cookie = format!("access_token={}", tokens[3]);
    let mut in_band = ws_with(&program, "", &[("authorization", &bearer)]).await;
    let mut others = vec![
        ws_with(&program, &by_query, &[]).await,
        ws_with(&program, "", &[("sec-websocket-protocol", &protocols)]).await,
        ws_with(&program, "", &[("cookie", &cookie), ("origin", &own)]).await,
        ws_with(&program, "", &[("cookie", "sid=s3cret"), ("origin", &own)]).await,
        sse(&program, &tokens[4], "").await,
        sse(&program, "", &format!("token={}", tokens[5])).await,
    ];
    in_band.expect("welcome").await;
    for other in &mut others {
        other.expect("welcome").await;
    }
    let renewal = token_with(&json!({ "sub": "1", "exp": unix_now() + 900 }));
    in_band
        .send(json!({ "type": "auth", "token": renewal }))
        .await;
    in_band.expect("authenticated").await;
    in_band
        .send(json!({ "type": "auth", "token": tokens[6] }))
        .await;
    in_band.expect("error").await;
    // Refused ones are secrets too: a token can be good elsewhere.
    let bad = rowcast::token::mint(
        "another secret that is also of more than 32 bytes",
        &json!({ "sub": "1", "exp": unix_now() + 600 }),
        jsonwebtoken::Algorithm::HS256,
    )
    .expect("claims are JSON");
    ws(&program, &bad, "").await.closed().await;
    assert!(
        try_sse(&program, "", &format!("token={bad}"), &[])
            .await
            .is_err()
    );
    let evil = [
        ("cookie", cookie.as_str()),
        ("origin", "https://evil.example"),
    ];
    ws_with(&program, "", &evil).await.closed().await;
    in_band
        .send(json!({ "type": "nonsense-from-a-page", "text": "from-a-page" }))
        .await;
    in_band.expect("error").await;

    database
        .run("notify unmapped, 'payload-that-fits-nothing'")
        .await;
    database
        .run("notify old, 'payload-of-a-notification'")
        .await;
    database
        .run("select rowcast.emit('c', 'marker', array['*'], '{\"a\":\"payload-of-an-event\"}')")
        .await;
    for somebody in others.iter_mut().chain([&mut in_band]) {
        // A notification has no place in the log, and so none before or behind its events.
        let (one, other) = (
            somebody.expect("event").await,
            somebody.expect("event").await,
        );
        let mut names = [one["name"].clone(), other["name"].clone()];
        names.sort_by_key(ToString::to_string);
        assert_eq!(names, ["marker", "old"]);
    }
    let back = others[0].bookmark.clone().expect("a bookmark");
    sse(&program, &tokens[7], &format!("since={back}"))
        .await
        .expect("welcome")
        .await;
    // Told at a level that is on only here.
    let no_bookmark = sse(&program, &tokens[8], "since=garbage")
        .await
        .next()
        .await;
    assert_eq!(no_bookmark["type"], "welcome");
    program.log_line(r#""reason":"bookmark""#).await;
    program.signal(Signal::SIGTERM);
    assert!(program.exited().await.success(), "{}", program.log());

    program.log_line(r#""message":"stopped""#).await;
    let log = program.log();
    let mut secrets = vec![SECRET, "s3cret", "payload-", "from-a-page"];
    // The signature alone, too: half a token is half a secret.
    secrets.extend(
        tokens
            .iter()
            .chain([&renewal, &bad])
            .flat_map(|token| token.rsplit('.').take(2)),
    );
    for secret in secrets {
        let leak = log.lines().find(|line| line.contains(secret));
        assert!(leak.is_none(), "{secret} is in the log: {leak:?}");
    }
    for transport in [Transport::WebSocket, Transport::Sse] {
        let name = format!("{transport:?}").to_lowercase();
        assert!(
            log.contains(&format!("\"transport\":\"{name}\"")),
            "{name} in {log}"
        );
    }
}
