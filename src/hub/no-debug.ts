/*
 * The SDK's debug lines print SAS tokens and message bodies. The `debug` package reads DEBUG when it is loaded, so this
 * stands in a module of its own, imported before any that loads it.
 */
delete process.env.DEBUG;
