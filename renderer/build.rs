//! Tells the linker where the worker finds libmujoco at run time.

fn main() {
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
