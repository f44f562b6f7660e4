mod properties;
mod script;
mod sound;
mod steps;
