//! Finds libweft for the linker: in `WEFT_LIB_DIR` where that is set, else by pkg-config. With the
//! feature `dlopen` it has nothing to do. Where there is none, or one too old, one sentence says
//! what to install.

use std::{env, path::Path};

/// The library's version that has all functions of `src/bindings.rs`.
const OLDEST: &str = "0.1.0";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WEFT_LIB_DIR");
    if env::var_os("CARGO_FEATURE_DLOPEN").is_some() || env::var_os("DOCS_RS").is_some() {
        return;
    }
    if let Some(folder) = env::var_os("WEFT_LIB_DIR") {
        let folder = Path::new(&folder).display();
        if Path::new(&format!("{folder}/libweft.so")).exists() {
            println!("cargo::rustc-link-search=native={folder}");
            println!("cargo::rustc-link-lib=dylib=weft");
        } else {
            println!(
                "cargo::error=WEFT_LIB_DIR={folder} has no libweft.so: build and install Weft \
                 (cmake --install), and name the folder of its libraries"
            );
        }
        return;
    }
    // Its error is many lines long; what helps is the one sentence below.
    let Err(error) = pkg_config::Config::new().atleast_version(OLDEST).probe("weft") else {
        return;
    };
    let found = pkg_config::get_variable("weft", "libdir").is_ok();
    let (what, first) = match error {
        pkg_config::Error::Command { .. } => {
            ("pkg-config cannot be run".into(), "install it (apt install pkg-config)")
        }
        _ if found => (
            format!("the installed Weft is older than {OLDEST}"),
            "install a newer one (cmake --install)",
        ),
        _ => (
            "Weft is not installed where pkg-config looks".into(),
            "install it (cmake --install) and add its lib/pkgconfig to PKG_CONFIG_PATH",
        ),
    };
    println!("cargo::error={what}: {first}, or set WEFT_LIB_DIR to the folder of libweft.so");
}
