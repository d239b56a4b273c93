//! What a coordinator must withstand, on real listeners with real TLS. SECURITY.md says where the rest is tested.

mod certificates;
mod floods;
mod private;
mod roles;
mod secrets;
mod tokens;
mod uploads;
