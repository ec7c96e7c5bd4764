/*
 * Imported before anything else by every program of ours. Node opens its inspector on SIGUSR1, and whoever may send that,
 * any process of the same uid, then runs code with the agent's capabilities. A listener of ours takes the place of Node's.
 *
 * From the start of Node to here, the flag below holds, which stands in the first line of main.ts too.
 */
process.on('SIGUSR1', () => {});

/**
 * Where Node's inspector may listen: an address for documentation (RFC 5737) that no interface has, so that it can't open.
 * Node 22.14 and newer have --disable-sigusr1, but older ones don't start with it.
 */
export const INSPECTOR_NOWHERE = '--inspect-port=192.0.2.1:1024';
