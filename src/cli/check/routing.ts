import { note, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'message routing';

export const routing: Check = {
  name: NAME,
  run({ local: { messageRouting } }) {
    if (messageRouting === 'telemetry') return [ok(NAME, 'messages go to your own routes')];
    if (messageRouting === 'both')
      return [ok(NAME, "messages go to your own routes, and to Microsoft's consumer as well")];
    return [
      note(
        NAME,
        "messages are marked for Microsoft's consumer of security messages, and the hub keeps them from your own routes. Microsoft announced the end of that consumer for 2025-08-01: it may be that nobody reads them",
        'Set messageRouting to "telemetry" (or "both") and add a route with the condition messageType = \'SecurityEvents\'.',
      ),
    ];
  },
};
