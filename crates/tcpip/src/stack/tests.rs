mod arp;
mod script;
mod streams;
mod world;
