import { note, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'message routing';

export const routing: Check = {
  name: NAME,
  run({ local: { messageRouting } }) {
    if (messageRouting === 'telemetry')
      return [ok(NAME, "messages go to your own routes, by the condition messageType = 'SecurityEvents'")];
    if (messageRouting === 'both')
      return [
        ok(
          NAME,
          "messages go to your own routes, by the condition messageType = 'SecurityEvents', and copies without SecurityAlert to Microsoft's security service",
        ),
      ];
    return [
      note(
        NAME,
        "messages are marked for Microsoft's security service, and the hub does not pass them to your own routes; alerts are sent as Diagnostic events only. Microsoft announced the end of that service for 2025-08-01: the messages may be discarded",
        'Set messageRouting to "telemetry" (or "both") and add a route with the condition messageType = \'SecurityEvents\'.',
      ),
    ];
  },
};
