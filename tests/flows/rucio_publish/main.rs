//! Publishing into a real Rucio server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../../support/rucio.rs"]
mod rucio;

use harness::{Naming, Rucio};
use runsync_manifest::content::Content;

use rucio::RucioSite;

#[test]
fn a_run_is_published() {
    let server = Rucio::start(&[]).unwrap();
    rucio::add_account(&server);
    for (rse, naming) in [
        ("SITE_A", Naming::Identity),
        ("SITE_H", Naming::Hash),
        ("SITE_N", Naming::NonDeterministic),
    ] {
        let site = RucioSite::new(&server, rse, naming, "bulk = 3");
        let run = format!("u/{}/run", rse.to_lowercase());
        site.add(&run, "1-1", Content::Additions, 0..7);
        println!("{}", site.site.directly(&["publish", &run, "--dry-run"]));
        println!("{}", site.site.directly(&["publish", &run]));
        println!("{}", site.site.directly(&["publish", &run]));
        site.add(&run, "1-2", Content::Additions, 7..9);
        println!("{}", site.site.directly(&["publish", &run]));
        println!("{}", site.site.directly(&["publish", "--list"]));
        for row in server
            .sql("select scope,name,did_type,is_open,bytes,length from dev.dids order by name")
            .unwrap()
        {
            println!("{row:?}");
        }
        for row in server
            .sql("select name,child_name from dev.contents order by 1,2")
            .unwrap()
        {
            println!("{row:?}");
        }
        for row in server
            .sql("select name,rse_expression,state,notification from dev.rules order by 1,2")
            .unwrap()
        {
            println!("{row:?}");
        }
        println!(
            "{}",
            String::from_utf8_lossy(
                &std::process::Command::new("find")
                    .arg(site.site.root())
                    .args(["-type", "f", "-links", "+0", "-printf", "%P %n\n"])
                    .output()
                    .unwrap()
                    .stdout
            )
        );
    }
}
