//! Compiles what speaks to lwIP.

fn main() {
    println!("cargo::rerun-if-changed=src/lwip.c");
    cc::Build::new().file("src/lwip.c").include("/usr/include/lwip").compile("lwip_host");
    println!("cargo::rustc-link-lib=lwip");
}
