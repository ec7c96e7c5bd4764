/*
 * The debug lines of Azure's packages contain SAS tokens, keys and message bodies. The `debug` package reads DEBUG when it is
 * loaded, so this must be a module that is imported before any module that loads the package.
 */
delete process.env.DEBUG;
