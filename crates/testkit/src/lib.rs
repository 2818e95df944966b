//! For tests: mini DNS, scripted peers, a trickling transport, a virtual clock, a failing file layer, a harness.
#![forbid(unsafe_code)]
