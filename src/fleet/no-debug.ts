/*
 * The SDK's debug lines contain tokens and keys of modules. The `debug` package reads DEBUG when it is loaded, so this must
 * be imported before the SDK.
 */
delete process.env.DEBUG;
