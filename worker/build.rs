//! Tells the linker where the worker finds libmujoco at run time, and the compiler where the
//! viewer's page is.

use std::path::Path;

fn main() {
    link_mujoco();
    include_viewer();
}

/// The page is built in if `scripts/build-web` has made it.
fn include_viewer() {
    println!("cargo::rustc-check-cfg=cfg(has_viewer)");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let Some(web) = workspace.map(|workspace| workspace.join("third_party/web")) else { return };
    println!("cargo::rustc-env=SIMWARD_WEB={}", web.display());
    // The script makes the folder in any case: what is not there would count as changed for ever.
    println!("cargo::rerun-if-changed={}", web.display());
    let files = ["index.html", "viewer.js", "viewer.css"];
    if files.iter().all(|file| web.join(file).is_file()) {
        println!("cargo::rustc-cfg=has_viewer");
    }
}

fn link_mujoco() {
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    println!("cargo::rerun-if-env-changed=SIMWARD_DIST");
    // Installed: PREFIX/bin or PREFIX/libexec beside PREFIX/lib/simward.
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/simward");
    // In a checkout: no build path may enter binaries that are shipped.
    if std::env::var_os("SIMWARD_DIST").is_none()
        && let Ok(folder) = std::env::var("MUJOCO_DYNAMIC_LINK_DIR")
    {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
