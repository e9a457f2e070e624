//! Builds the static library with make and a C compiler, and links it.
use std::{env, path::PathBuf, process::Command};

fn main() {
    let c = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let out = env::var("OUT_DIR").unwrap();
    let built = Command::new("make")
        .arg("-C")
        .arg(&c)
        .arg(format!("B={out}"))
        .arg(format!("{out}/liblockstep.a"))
        .env_remove("MAKEFLAGS")
        .status()
        .expect("make");
    assert!(built.success(), "make has failed");
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-lib=static=lockstep");
    println!("cargo:rustc-link-lib=m");
    println!("cargo:rerun-if-changed={}", c.join("src").display());
    println!("cargo:rerun-if-changed={}", c.join("include").display());
}
