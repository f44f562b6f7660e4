//! Compiles what speaks to lwIP.

fn main() {
    #[cfg(feature = "lwip")]
    {
        println!("cargo::rerun-if-changed=src/lwip.c");
        cc::Build::new().file("src/lwip.c").include("/usr/include/lwip").opt_level(3).compile("lwip_peer");
        println!("cargo::rustc-link-lib=lwip");
    }
}
