//! Who may come in and which rooms they may join: token or session to claims, claims and rooms to
//! admission in SQL, and the seats of the house.
//! Hands identities and joined rooms over to the transports. It must never say whether a room that
//! was refused exists.

use super::questions::Question;
use super::visit::Visit;
use super::{Gate, Refusal};
use crate::bookmark::Bookmark;
use crate::clock::unix_now;
use crate::database::AccessAnswer;
use crate::event::is_name;
use crate::hub::{Admission, Identity, RoomRefusal, Since};
use crate::report;
use crate::token::{Claims, TokenError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a subscribe waits for the hub to reach a bookmark that another node gave out.
const REACH: Duration = Duration::from_secs(3);

/// The names that can be asked for, each once, and those that can't, with the reason.
type Checked = (Vec<Arc<str>>, Vec<(String, RoomRefusal)>);

/// Checks names of at most so many bytes. SQL is asked about no more of them than a connection may be
/// in: whoever names thousands would have all who come meanwhile wait for their answers.
fn check_names(rooms: Vec<String>, most: usize, bytes: usize) -> Checked {
    let (mut asked, mut refused, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    for room in rooms {
        if known.contains(&*room) {
            continue;
        }
        if !is_name(&room, bytes) {
            refused.push((room, RoomRefusal::Bad));
        } else if asked.len() == most {
            refused.push((room, RoomRefusal::TooMany));
        } else {
            let room: Arc<str> = room.into();
            known.insert(Arc::clone(&room));
            asked.push(room);
        }
    }
    (asked, refused)
}

fn identity_of(claims: &Claims) -> Identity {
    Identity {
        user: claims.subject.clone(),
        expires_at: claims.expires_at,
        claims: claims.json.to_string().into(),
        session: None,
        as_of: i64::MAX,
    }
}

impl Gate {
    /// Who sent this request.
    ///
    /// # Errors
    /// Why nobody may come in with it.
    pub async fn identify(&self, visit: &Visit) -> Result<Identity, Refusal> {
        if let Some(token) = visit.bearer() {
            visit.check_origin(self, false)?;
            return self.identify_token(&token).await;
        }
        let configured = self.settings.auth.cookie.as_deref();
        if let Some((_, token)) = visit.cookies().find(|(name, _)| Some(*name) == configured) {
            visit.check_origin(self, true)?;
            return self.identify_token(token).await;
        }
        if visit.cookies().next().is_some()
            && let Some(identity) = self.identify_session(visit).await?
        {
            return Ok(identity);
        }
        if let Some(claims) = &self.settings.auth.anonymous_claims {
            visit.check_origin(self, false)?;
            let claims = claims.as_str().into();
            return Ok(Identity {
                user: None,
                expires_at: u64::MAX,
                claims,
                session: None,
                as_of: i64::MAX,
            });
        }
        Err(Refusal::NoToken)
    }

    /// Who a token belongs to.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn identify_token(&self, token: &str) -> Result<Identity, Refusal> {
        let claims = self.verifier.verify_or_refresh(token, unix_now()).await;
        claims
            .map(|claims| identity_of(&claims))
            .map_err(Refusal::BadToken)
    }

    async fn identify_session(&self, visit: &Visit) -> Result<Option<Identity>, Refusal> {
        let known = self
            .cookies
            .names(&self.database, self.hub.access_known())
            .await
            .map_err(|error| {
                report::database_failed("session cookies", &error);
                Refusal::DatabaseAway
            })?;
        let mut sent = HashMap::new();
        for (name, value) in visit.cookies() {
            if known.iter().any(|one| one == name) {
                sent.entry(name).or_insert(value);
            }
        }
        if sent.is_empty() {
            return Ok(None);
        }
        visit.check_origin(self, true)?;
        let sent: Arc<str> = crate::event::to_json(&sent).into();
        let nobody = Identity {
            user: None,
            expires_at: 0,
            claims: "null".into(),
            session: Some(Arc::clone(&sent)),
            as_of: i64::MIN,
        };
        let question = Question {
            identity: nobody,
            rooms: None,
            exchanges: true,
            address: visit.address(self),
        };
        let answer = self.questions.ask(question).await?;
        let mut identity = self.identity_of_session(answer.claims.as_deref())?;
        (identity.session, identity.as_of) = (Some(sent), answer.version);
        Ok(Some(identity))
    }

    /// Who the claims of a session (JSON text) belong to; nothing is a session that is none.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn identity_of_session(&self, claims: Option<&str>) -> Result<Identity, Refusal> {
        let claims = claims.and_then(|text| serde_json::from_str(text).ok());
        let claims = claims.ok_or(Refusal::BadSession)?;
        let leeway = self.settings.auth.leeway.as_secs();
        let claims = Claims::from_json(claims, unix_now(), leeway).map_err(Refusal::BadToken)?;
        Ok(identity_of(&claims))
    }

    /// Checks names of rooms and asks SQL for each. Home rooms need no rule.
    ///
    /// # Errors
    /// The user was revoked, a rule failed, or the database is away.
    pub async fn admit(
        &self,
        identity: &Identity,
        rooms: Vec<String>,
    ) -> Result<Admission, Refusal> {
        self.grant(identity, rooms, |_| &[]).await
    }

    /// The home rooms, and those of a request.
    ///
    /// # Errors
    /// The user was revoked, a rule failed, or the database is away.
    pub async fn welcome(
        &self,
        identity: &Identity,
        rooms: Vec<String>,
    ) -> Result<Admission, Refusal> {
        self.grant(identity, rooms, |answer| &answer.home).await
    }

    /// The rooms that need no rule, if the answer has any, and those of these that it grants.
    async fn grant(
        &self,
        identity: &Identity,
        rooms: Vec<String>,
        home: impl Fn(&AccessAnswer) -> &[Arc<str>],
    ) -> Result<Admission, Refusal> {
        let limits = &self.settings.limits;
        let most = limits.rooms_per_connection;
        let (asked, refused) = check_names(rooms, most, limits.room_name_bytes);
        let answer = self.ask(identity, Some(asked.clone())).await?;
        let home = home(&answer);
        let mut admitted = Admission {
            user: identity.user.clone(),
            rooms: home.to_vec(),
            home: home.len(),
            refused,
            version: answer.version,
        };
        for room in &asked {
            if !answer.grants(room) {
                admitted
                    .refused
                    .push((room.to_string(), RoomRefusal::Forbidden));
            } else if !admitted.rooms.contains(room) {
                admitted.rooms.push(Arc::clone(room));
            }
        }
        while admitted.rooms.len() > most
            && let Some(room) = admitted.rooms.pop()
        {
            if admitted.rooms.len() >= admitted.home || asked.contains(&room) {
                let room = room.to_string();
                admitted.refused.push((room, RoomRefusal::TooMany));
            }
        }
        Ok(admitted)
    }

    /// Asks whether somebody may be here who is in no room: under which version they may.
    ///
    /// # Errors
    /// The user was revoked, or the database is away.
    pub async fn confirm(&self, identity: &Identity) -> Result<i64, Refusal> {
        Ok(self.ask(identity, None).await?.version)
    }

    async fn ask(
        &self,
        identity: &Identity,
        rooms: Option<Vec<Arc<str>>>,
    ) -> Result<AccessAnswer, Refusal> {
        let question = Question {
            identity: identity.clone(),
            rooms,
            exchanges: false,
            address: None,
        };
        let mut answer = self.questions.ask(question).await?;
        // The session may have changed between the two questions: then it is asked for again.
        answer.version = answer.version.min(identity.as_of);
        if answer.revoked {
            return Err(Refusal::BadToken(TokenError::Revoked));
        }
        if answer.claims.is_none() {
            return Err(Refusal::BadToken(TokenError::Malformed));
        }
        Ok(answer)
    }

    /// Reads a bookmark and waits until the hub has reached it: it may come from a page that was
    /// rendered, or from a node that looked, a moment ago.
    ///
    /// # Errors
    /// The log is not read at present: nobody knows yet whether the place is from elsewhere.
    pub async fn reach(&self, since: Option<&str>) -> Result<Since, Refusal> {
        let Some(text) = since else {
            return Ok(Since::Now);
        };
        let Ok(bookmark) = Bookmark::parse(text) else {
            return Ok(Since::Unreadable);
        };
        let mut standpoint = self.hub.standpoint();
        let before = self.hub.looks();
        let reached = async {
            loop {
                // Before the standpoint, which is then as new.
                let looks = self.hub.looks() - before;
                let here = standpoint.borrow_and_update().clone();
                let there = here.is_some_and(|here| {
                    here.history != bookmark.history
                        || bookmark.newest().is_subset_of(&here.snapshot)
                });
                // The look under way may have begun before the bookmark was taken, the next has not:
                // what it does not reach is not from here, and will be answered with a gap.
                if there || looks >= 2 {
                    return;
                }
                self.hub.want_look();
                if standpoint.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(REACH, reached)
            .await
            .map(|()| Since::Bookmark(bookmark.clone(), text.into()))
            .map_err(|_| Refusal::DatabaseAway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_names_are_asked_for_than_a_connection_may_be_in() {
        let names = ["", "a\n", "12345678901"].map(str::to_owned).into_iter();
        let names = names.chain((0..5000).flat_map(|number| vec![format!("r:{number}"); 2]));
        let (asked, refused) = check_names(names.collect(), 200, 10);
        assert_eq!(
            (asked.len(), &*asked[0], &*asked[199]),
            (200, "r:0", "r:199")
        );
        let of = |why| refused.iter().filter(|(_, known)| *known == why).count();
        assert_eq!((of(RoomRefusal::Bad), of(RoomRefusal::TooMany)), (3, 9600));
    }
}
