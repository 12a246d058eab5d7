//! A client of a node: its futures are calls to another store, which end later, or never.

mod common;

use std::future::IntoFuture;

use common::{block_on, poll_once, space};

fn node_and_client(name: &str) -> (weft::Store, weft::Store) {
    let folder = std::env::temp_dir();
    let address = format!("unix:{}/weft-{name}-{}.sock", folder.display(), std::process::id());
    let node = weft::Store::open(&format!("memory=64MiB,listen={address}")).unwrap();
    let client = weft::Store::open(&format!("connect={address}")).unwrap();
    (node, client)
}

#[test]
fn a_client_and_its_node_await_each_other() {
    let (node, client) = node_and_client("await");
    let (there, here) = (space(&node), space(&client));
    block_on(async {
        for round in 0..100u128 {
            assert!(here.save(round, vec![5; 5000]).await.unwrap());
            assert_eq!(there.load(round).await.unwrap(), Some(vec![5; 5000]));
            let block = there.reserve(round + 1000, 64).await.unwrap();
            let mut wait = here.wait(round + 1000).into_future();
            assert!(poll_once(&mut wait).is_pending());
            assert!(block.commit().await.unwrap());
            assert!(wait.await.unwrap());
        }
    });
}

#[test]
fn a_view_stays_when_the_node_goes() {
    let (node, client) = node_and_client("view");
    space(&node).save("k", vec![6; 9000]).run().unwrap();
    let here = space(&client);
    let view = here.view("k").unwrap().expect("the node's block, in place");
    node.close().unwrap();
    assert!(view.iter().all(|&byte| byte == 6));
    let late = here.save("late", vec![1; 10]).timeout_ms(300).run();
    assert!(matches!(late, Err(weft::Error::Peer(_) | weft::Error::TimedOut(_))), "{late:?}");
    drop(view);
    drop(here);
    client.close().unwrap();
}
