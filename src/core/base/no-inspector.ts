/*
 * Each program of the agent must import this file first. Node opens its inspector on SIGUSR1, which lets any process of
 * the same uid run code with the agent's capabilities. A handler of the program replaces Node's.
 *
 * Until this file runs, the flag below protects the process. It is also in the first line of main.ts.
 */
process.on('SIGUSR1', () => {});

/**
 * Makes Node's inspector listen on an address for documentation (RFC 5737), which no interface has, so that it can't
 * open. Node 22.14 and newer have --disable-sigusr1, but older ones refuse to start with it.
 */
export const UNREACHABLE_INSPECTOR = '--inspect-port=192.0.2.1:1024';
