//! One namespace of one connection, from the sign-in to the end.
//! Hands the client's words to the conversation, and what the hub queued to the writer.
//! It must never let anybody into a namespace whom the gate has not let in, nor write to it for
//! whoever has left.

use super::ear::Ear;
use super::engine::Engine;
use super::outlet::NamespaceOutlet;
use super::packet;
use super::speech::Named;
use crate::connection::Refusal;
use crate::connection::conversation::Conversation;
use crate::connection::presence::Presence;
use crate::connection::speech::Speech;
use crate::connection::writer::Writer;
use crate::dialect::{Filling, Values};
use crate::frame::Frame;
use crate::report::Transport;
use serde_json::Value;
use std::sync::Arc;

/// Somebody who was let in, how they are spoken to, and whether they could join.
type Entered = (Presence, Arc<Named>, Result<(), Refusal>);

/// Serves whoever connects to a namespace: the one at this place among the door's.
pub(super) async fn serve(engine: Arc<Engine>, place: usize, ear: Arc<Ear>, auth: Value) {
    // On the heap until it is in: who stays needs none of it.
    let entering = Box::pin(async {
        engine.vacant(place, &ear).await;
        enter(&engine, place, auth).await
    });
    let entered = tokio::select! {
        entered = entering => entered,
        () = ear.closed() => Err(None),
    };
    let (mut presence, named, joined) = match entered {
        Ok(entered) => entered,
        Err(refused) => {
            engine.vacate(&ear);
            // Only now, with the place free again: whoever hears it may come again at once.
            if let Some(refused) = refused {
                engine.say(refused);
            }
            return;
        }
    };
    let why = match joined {
        Ok(()) => run(&engine, &presence, &named, &ear).await,
        Err(why) => why,
    };
    if why == Refusal::Gone {
        // Its client has left it, or the whole connection ends, for a reason of its own.
        presence.why = engine.ended().unwrap_or(why).word();
    } else {
        presence.why = why.word();
        Box::pin(send_away(&engine, place, &ear, why)).await;
    }
    drop(presence);
    engine.vacate(&ear);
}

/// Lets somebody in and has them join, or hands back what says why not, if that is to be said. They
/// may speak as soon as they are in.
async fn enter(engine: &Arc<Engine>, place: usize, auth: Value) -> Result<Entered, Option<Frame>> {
    let host = &engine.host;
    let visit = engine.opened.visit(&host.dialect, &host.door, &auth);
    drop(auth);
    let refusal = match host.gate.enter(Transport::SocketIo, &visit).await {
        Ok(mut presence) => {
            let door = presence.door.clone().ok_or(None)?;
            let named = Arc::new(Named::new(host, door, place));
            engine.settle();
            engine.say(packet::connected(named.prefix(), &presence.connection));
            let joined = presence.join(&visit).await;
            return Ok((presence, named, joined));
        }
        Err(refusal) => refusal,
    };
    if refusal.is_temporary() {
        // Who is refused by a word does not come back by itself, and can't be told when to: so the
        // wait is spent here, and the connection lost.
        let longest = host.gate.settings.socketio.connect / 2;
        tokio::time::sleep(host.gate.wait(refusal).min(longest)).await;
        engine.end(refusal);
        return Err(None);
    }
    let message = refusal.to_string();
    let values = Values::default().with("message", Filling::Text(&message));
    let said = host.door.refusal(refusal.word(), &values);
    Err(Some(packet::refused(&host.prefix(place), &said)))
}

async fn run(engine: &Engine, presence: &Presence, named: &Arc<Named>, ear: &Ear) -> Refusal {
    let settings = &presence.gate.settings;
    let speech = Arc::clone(named) as Arc<dyn Speech>;
    let conversation = Conversation::begin(presence, speech);
    let outlet = NamespaceOutlet::new(engine, named, settings, presence.resumes);
    let mut writer = Writer::new(&conversation, outlet);
    let why = tokio::select! {
        why = writer.write() => why,
        why = ear.listen(&conversation) => why,
        // Engine.IO asks for signs of life.
        why = conversation.ended(|| None) => why,
        // At once, whatever is asked for still: the next who comes here may be somebody else.
        () = ear.closed() => Refusal::Gone,
    };
    if why == Refusal::Gone {
        ear.finish(&conversation);
    }
    why
}

/// Ends what somebody has here, or the connection, so that its client comes back by itself.
async fn send_away(engine: &Engine, place: usize, ear: &Ear, why: Refusal) {
    if why.ends_access() {
        // Whoever hears of it may come again at once, and is answered when this one has gone.
        ear.close();
        if !engine.is_shared(place) {
            engine.forget();
        }
        engine.say(packet::disconnected(&engine.host.prefix(place)));
        // Whoever has no other namespace here closes the connection. Others live on, unless what
        // this one may not have any more is still on its way.
        let closed = engine.closed(why).await;
        if closed || (engine.is_shared(place) && engine.is_empty()) {
            return;
        }
    }
    engine.end(why);
    if !engine.closed(why).await {
        engine.close();
    }
}
