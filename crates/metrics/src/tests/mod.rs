mod collectd;
mod parser;
mod registry;
mod shards;
mod text;
