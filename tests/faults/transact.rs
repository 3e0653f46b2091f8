//! Transactions that last: open for long, of very many subtransactions, prepared and committed later.
//! Hands what became of them over to the ledger, whatever strikes meanwhile.
//! It must never call one committed that PostgreSQL does not know as that.

use super::rig::Rig;
use super::writers::{Open, Outcome};

impl Rig {
    /// Straight to the database, and whatever becomes of it is settled.
    async fn transact(
        &self,
        work: impl AsyncFnOnce(&tokio_postgres::Client, &mut Open<'_>) -> Answer,
    ) {
        let client = self.superuser().await;
        let mut open = self.ledger.begin();
        let answer = work(&client, &mut open).await;
        open.settle_by(&answer);
    }

    pub async fn long_transaction(&self) {
        self.transact(async |client, open| {
            client.batch_execute("begin").await?;
            for _ in 0..3 {
                let number = self.ledger.draw(1);
                open.holds(number);
                client.batch_execute(&entry(number)).await?;
                self.everybody_hears(20).await;
            }
            open.sends_commit();
            client.batch_execute("commit").await
        })
        .await;
    }

    pub async fn subtransactions(&self) {
        const COUNT: i64 = 10_000;
        self.transact(async |client, open| {
            let first = self.ledger.draw(COUNT);
            (first..first + COUNT).for_each(|number| open.holds(number));
            let sql = format!(
                "begin; do $$ begin for n in {first}..{} loop begin \
                   insert into app.entry values (n, null, null, '{{open:2}}'); \
                   exception when division_by_zero then null; end; end loop; end $$",
                first + COUNT - 1
            );
            client.batch_execute(&sql).await?;
            self.everybody_hears(10).await;
            open.sends_commit();
            client.batch_execute("commit").await
        })
        .await;
    }

    /// Prepared, left alone while the listeners are cut and others commit, and committed by
    /// another connection; whatever answers are lost, the server knows which are prepared.
    pub async fn prepared(&self) {
        let mut open = self.ledger.begin();
        let number = self.ledger.draw(1);
        open.holds(number);
        let sql = format!("begin; {}; prepare transaction 'p{number}'", entry(number));
        let prepared = self.superuser().await.batch_execute(&sql).await;
        if prepared.is_err() && !self.is_prepared(number).await {
            assert!(
                prepared.is_err_and(|error| error.code().is_none_or(|code| code.code() != "0A000")),
                "PREPARE TRANSACTION is refused: somebody rings"
            );
            return open.settle(Outcome::Undone);
        }
        self.everybody_hears(10).await;
        self.kill_listeners().await;
        self.everybody_hears(10).await;
        open.sends_commit();
        let sql = format!("commit prepared 'p{number}'");
        while self.is_prepared(number).await {
            let _ = self.superuser().await.batch_execute(&sql).await;
        }
        open.settle(Outcome::Committed);
    }

    async fn is_prepared(&self, number: i64) -> bool {
        let sql = "select exists (select from pg_prepared_xacts where gid = 'p' || $1::bigint)";
        loop {
            let client = self.superuser().await;
            if let Ok(row) = client.query_one(sql, &[&number]).await {
                return row.get(0);
            }
        }
    }
}

type Answer = Result<(), tokio_postgres::Error>;

fn entry(number: i64) -> String {
    format!("insert into app.entry values ({number}, null, null, '{{open:1,open:2,staff:1}}')")
}
