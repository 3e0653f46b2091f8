//! Who gets in by which session, into which rooms, and what calls answer them.

use super::{BOOKED, DAY, SAMPLE, booking_as, day_told, free, hours};
use crate::support::{Server, Subscriber, serve, system, token, unhurried, within, ws, ws_with};
use serde_json::{Value, json};

/// Nobody gets into another's room, nor customers and therapists into those of staff.
#[tokio::test]
async fn everybody_joins_what_access_sql_says_and_nothing_else() {
    let database = system("spa").await;
    database.run(SAMPLE).await;
    let server = serve(&database, unhurried).await;
    let asked = "customer_1,customer_2,therapist_9,manager_30,receptionist_all,manager_all,\
                 admin_all,therapist_all,customer_all,calendar,other";
    for (sub, role, joined) in [
        ("1", "customer", "customer_1 calendar"),
        ("9", "therapist", "therapist_9 calendar"),
        (
            "20",
            "receptionist",
            "receptionist_20 receptionist_all calendar",
        ),
        ("30", "manager", "manager_30 manager_all calendar"),
        ("40", "admin", "admin_40 admin_all calendar"),
        ("2147483647", "customer", "customer_2147483647 calendar"),
        // A role that the spa does not know, a name that is no number, or none of a user, a token
        // without a role.
        ("1", "owner", ""),
        ("all", "manager", ""),
        ("2147483648", "customer", ""),
        ("1", "", ""),
    ] {
        let mut somebody = ws(&server, &token(sub, role, ""), &format!("rooms={asked}")).await;
        let welcome = somebody.expect("welcome").await;
        let joined: Vec<_> = joined.split_whitespace().collect();
        assert_eq!(welcome["rooms"], json!(joined), "{sub} {role}");
        for room in asked.split(',').filter(|room| !joined.contains(room)) {
            let error = somebody.expect("error").await;
            assert_eq!(
                (&error["code"], &error["room"]),
                (&json!("forbidden"), &json!(room))
            );
        }
    }
    server.stop().await;
}

/// A session of Ann's by the name `ann`, of Max's `max`.
pub const SESSIONS: &str = "
    insert into spa.http_sessions (session_id, user_id) values ('ann', 1), ('max', 30);
";

async fn by_cookie(server: &Server, session: &str) -> Subscriber {
    let cookie = format!("theme=dark; JSESSIONID={session}");
    let headers = [("cookie", cookie.as_str()), ("origin", server.url.as_str())];
    ws_with(server, "", &headers).await
}

/// How it ends, and soon: heartbeats are no reason to wait on.
async fn closed(somebody: &mut Subscriber) -> u16 {
    within("it is closed", somebody.closed()).await.0
}

#[tokio::test]
async fn the_applications_session_is_who_one_is_until_it_ends() {
    let database = system("spa").await;
    database.run(&format!("{SAMPLE}{SESSIONS}")).await;
    let server = serve(&database, unhurried).await;
    let mut ann = by_cookie(&server, "ann").await;
    let welcome = ann.expect("welcome").await;
    assert_eq!(
        (&welcome["user"], &welcome["rooms"]),
        (&json!("1"), &json!(["customer_1"]))
    );
    let mut max = by_cookie(&server, "max").await;
    assert_eq!(
        max.expect("welcome").await["rooms"],
        json!(["manager_30", "manager_all"])
    );
    assert_eq!(closed(&mut by_cookie(&server, "nobody").await).await, 1008);

    // Idle for too long, as the application says. As soon as it has seen the user again, they are let
    // in again.
    let idle = "update spa.http_sessions set last_accessed_at = now() - interval '31 minutes'
        where session_id = 'ann'";
    database.run(idle).await;
    assert_eq!(closed(&mut ann).await, 1008);
    assert_eq!(closed(&mut by_cookie(&server, "ann").await).await, 1008);
    let seen = "update spa.http_sessions set last_accessed_at = now() where session_id = 'ann'";
    database.run(seen).await;
    let mut ann = by_cookie(&server, "ann").await;
    ann.expect("welcome").await;

    // Nobody is asked for because of a sign-out that is taken back, of what ended long ago, or of a
    // session that goes on: of two requests at once, the one that came first may be noted last.
    let legacy = database.legacy().await;
    let asked = "select access_version from rowcast.setting";
    let before: i64 = database.ask(asked).await;
    let nothing = "begin; delete from spa.http_sessions; rollback;
        insert into spa.http_sessions (session_id, user_id, last_accessed_at)
          values ('old', 2, now() - interval '1 day');
        delete from spa.http_sessions where session_id = 'old';
        update spa.http_sessions set last_accessed_at = now() + interval '1 second';
        update spa.http_sessions set last_accessed_at = now();
        update spa.users set phone_number = '555-2' where user_id = 2";
    legacy.batch_execute(nothing).await.expect("tidied up");
    assert_eq!(database.ask::<i64>(asked).await, before);
    // Signing out, and an account that is closed, end the socket as soon as they are committed.
    let sign_out = "delete from spa.http_sessions where session_id = 'ann'";
    legacy.batch_execute(sign_out).await.expect("signed out");
    assert_eq!(closed(&mut ann).await, 1008);
    let inactive = "update spa.users set is_active = false where user_id in (1, 30)";
    legacy.batch_execute(inactive).await.expect("closed");
    assert_eq!(closed(&mut max).await, 1008);
    assert_eq!(database.ask::<i64>(asked).await, before + 2);
    server.stop().await;
}

/// Whoever holds its cookie is somebody else now, or nobody.
#[tokio::test]
async fn a_session_that_changes_hands_ends() {
    let database = system("spa").await;
    database.run(SAMPLE).await;
    let server = serve(&database, unhurried).await;
    let legacy = database.legacy().await;
    for change in [
        "user_id = 2",
        "session_id = 'another'",
        "max_inactive_seconds = 1, last_accessed_at = now() - interval '2 seconds'",
    ] {
        // With this interval, a session of the Servlet API has no end.
        let sign_in = "delete from spa.http_sessions;
            insert into spa.http_sessions (session_id, user_id, last_accessed_at,
              max_inactive_seconds) values ('ann', 1, now() - interval '1 day', -1)";
        legacy.batch_execute(sign_in).await.expect("signed in");
        let mut ann = by_cookie(&server, "ann").await;
        assert_eq!(ann.expect("welcome").await["user"], "1");
        let sql = format!("update spa.http_sessions set {change}");
        legacy.batch_execute(&sql).await.expect("changed");
        assert_eq!(closed(&mut ann).await, 1008, "{change}");
    }
    server.stop().await;
}

/// Of an import that knew no beginning, say; and one of the Servlet API's without an end.
#[tokio::test]
async fn a_session_may_begin_and_end_at_infinity() {
    let database = system("spa").await;
    let sessions = "insert into spa.http_sessions
          (session_id, user_id, created_at, last_accessed_at, max_inactive_seconds)
        values ('ann', 1, '-infinity', now(), -1), ('max', 30, '-infinity', 'infinity', 1800)";
    database.run(&format!("{SAMPLE}{sessions}")).await;
    let server = serve(&database, unhurried).await;
    for (session, user) in [("ann", "1"), ("max", "30")] {
        let mut somebody = by_cookie(&server, session).await;
        assert_eq!(somebody.expect("welcome").await["user"], user);
    }
    server.stop().await;
}

/// What a call answers is what the events would show the same caller.
#[tokio::test]
async fn calls_answer_each_role_with_what_it_may_see() {
    let database = system("spa").await;
    database.run(&format!("{SAMPLE}{BOOKED}")).await;
    let server = serve(&database, unhurried).await;
    let of = |viewer: &str| json!([booking_as(viewer, json!({}))]);
    let day = |viewer: &str| {
        day_told(9, &hours(), of)
            .into_iter()
            .map(|(.., data)| data)
            .nth(match viewer {
                "therapist" => 0,
                "receptionist" => 1,
                _ => 2,
            })
    };
    for (sub, role, bookings, schedule) in [
        ("1", "customer", of("customer"), None),
        ("2", "customer", json!([]), None),
        ("9", "therapist", of("therapist"), day("therapist")),
        ("10", "therapist", json!([]), None),
        (
            "20",
            "receptionist",
            of("receptionist"),
            day("receptionist"),
        ),
        ("30", "manager", of("manager"), day("manager")),
        ("40", "admin", of("manager"), day("manager")),
    ] {
        let mut caller = ws(&server, &token(sub, role, ""), "").await;
        caller.expect("welcome").await;
        let mut call = async |function: &str, args: Value| {
            let call = json!({ "type": "call", "id": 1, "function": function, "args": args });
            caller.send(call).await;
            caller.next().await
        };
        for args in [json!({}), json!({ "day": DAY })] {
            assert_eq!(call("bookings", args).await["data"], bookings, "{role}");
        }
        assert_eq!(
            call("bookings", json!({ "day": "2099-01-16" })).await["data"],
            json!([])
        );
        let of_tess = json!({ "therapist": 9, "day": DAY });
        let answer = call("therapist_schedule", of_tess).await;
        match schedule {
            Some(schedule) => assert_eq!(answer["data"], schedule, "{role}"),
            None => assert_eq!(answer["message"], "no such schedule for you", "{role}"),
        }
        let args = json!({ "service": 5, "therapist": 9, "day": DAY });
        let (.., slots) = free(5, 9, "09:00 11:00 15:30+90");
        assert_eq!(call("availability", args).await["data"], slots, "{role}");
    }
    let mut nobody = ws(&server, &token("1", "owner", ""), "").await;
    nobody.expect("welcome").await;
    let call = json!({ "type": "call", "id": 1, "function": "bookings" });
    nobody.send(call).await;
    assert_eq!(nobody.expect("error").await["code"], "no-such-function");
    server.stop().await;
}
