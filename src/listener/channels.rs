//! Channels that are notified without a log: which there are, and what is heard on them.
//! Hands events over to the hub. It must never let a notification pass for one that can be resumed.

use super::{Listener, ListenerError};
use crate::database::{Channels, Listening};
use crate::notification::NotifyChannel;
use crate::report;
use jiff::Timestamp;
use std::sync::Arc;

impl Listener {
    /// Reads the table, and listens to what it names now. `fresh`: this connection listens to none yet.
    pub(super) async fn take_channels(
        &self,
        listening: &Listening,
        fresh: bool,
        channels: &mut Channels,
    ) -> Result<(), ListenerError> {
        let now = listening.channels().await?;
        let listened = if fresh { &[][..] } else { &channels.notify };
        let lacks =
            |rules: &[NotifyChannel], name: &str| rules.iter().all(|rule| rule.name != name);
        for gone in listened.iter().filter(|old| lacks(&now.notify, &old.name)) {
            listening.listen(&gone.name, false).await?;
        }
        for new in now.notify.iter().filter(|new| lacks(listened, &new.name)) {
            listening.listen(&new.name, true).await?;
        }
        if now != *channels {
            report::channels(now.notify.len(), now.paused.len());
        }
        *channels = now;
        Ok(())
    }

    /// Makes an event of a notification, for whoever is connected now.
    pub(super) fn pass_on(&self, channels: &Channels, channel: &str, payload: &str) {
        let Some(rule) = channels.notify.iter().find(|rule| rule.name == channel) else {
            return;
        };
        match rule.event(payload, Timestamp::now()) {
            Ok(event) => {
                report::notification();
                self.hub.publish_unlogged(&Arc::new(event));
            }
            Err(why) => report::notification_unmapped(channel, &why),
        }
    }
}
