import { randomUUID } from 'node:crypto';

/** Names of a hub's error codes. Source: "Error codes" of IoT Hub, and `ErrorCode` of its service SDKs. */
const NAMES: Readonly<Record<number, string>> = {
  400001: 'InvalidProtocolVersion',
  400004: 'ArgumentInvalid',
  400012: 'DeserializationError',
  401002: 'IotHubUnauthorizedAccess',
  401003: 'IotHubUnauthorized',
  403010: 'OperationNotAvailableInCurrentTier',
  403012: 'DeviceDisabled',
  404001: 'DeviceNotFound',
  404010: 'ModuleNotFound',
  404103: 'DeviceNotOnline',
  404104: 'DeviceConnectionClosedRemotely',
  409001: 'DeviceAlreadyExists',
  409301: 'ModuleAlreadyExistsOnDevice',
  412001: 'PreconditionFailed',
  413001: 'MessageTooLarge',
  413003: 'TooManyModulesOnDevice',
  429001: 'ThrottlingException',
  500001: 'ServerError',
  502000: 'BadDeviceResponse',
  503001: 'ServiceUnavailable',
  504101: 'GatewayTimeout',
};

/**
 * The format of a hub's errors: as text, `{"Message": "ErrorCode:DeviceNotFound;dev1", "ExceptionMessage": "Tracking ID:…"}`,
 * or with JSON as the text, `{"Message": "{\"errorCode\":404001,…}", "ExceptionMessage": ""}`. Hubs use both.
 */
export type ErrorForm = 'text' | 'json';

/** A refused request, with the hub's six-digit code. */
export class RestError extends Error {
  override readonly name = 'RestError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }

  get status(): number {
    return Math.floor(this.code / 1_000);
  }

  /** The hub's name of the code. */
  get codeName(): string {
    return NAMES[this.code] ?? String(this.code);
  }

  get headers(): Readonly<Record<string, string>> {
    return { 'iothub-errorcode': this.codeName };
  }

  /** @param at the time to write in it */
  body(form: ErrorForm, at: Date): { readonly Message: string; readonly ExceptionMessage: string } {
    const trackingId = `${randomUUID().replaceAll('-', '')}-G:0-TimeStamp:${at.toISOString()}`;
    if (form === 'text') {
      return { Message: `ErrorCode:${this.codeName};${this.message}`, ExceptionMessage: `Tracking ID:${trackingId}` };
    }
    const { code: errorCode, message } = this;
    return { Message: JSON.stringify({ errorCode, trackingId, message, timestampUtc: at }), ExceptionMessage: '' };
  }
}
