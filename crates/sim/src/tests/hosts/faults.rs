//! Hosts that crash, come back, and are kept apart.
