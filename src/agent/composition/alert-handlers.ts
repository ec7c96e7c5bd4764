import type { Handler } from '../../core/base/control-socket.ts';
import { securityAlert } from '../collectors/security-alert.ts';
import type { AlertHistory } from '../detections/alerts/history.ts';
import { type KeptAlert, recordOf } from '../detections/alerts/kept-alert.ts';

/** As in the message of the alert, but with shorter command lines. */
const payloadOf = (alert: KeptAlert) => securityAlert.translate(recordOf(alert, new Date(alert.last)), NOTHING);

/** Nothing is looked up for an alert. */
const NOTHING = {
  newBatch: () => {},
  userName: () => undefined,
  containerId: () => undefined,
  started: () => ({ containerId: undefined, sha256: undefined }),
  interfaceName: () => undefined,
};

/** For `vakt alerts`: the last alerts, oldest first; and each new one and update, a JSON line each. */
export const alertHandlers = (history: AlertHistory): Readonly<Record<string, Handler>> => ({
  '/alerts': () => history.list().map(payloadOf),
  '/alerts/follow': (_query, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    const end = history.follow((alert) => {
      if (!response.writableNeedDrain) response.write(`${JSON.stringify(payloadOf(alert))}\n`);
    });
    response.on('close', end);
    return undefined;
  },
});
