/** Names of the network settings where a user sets them; for error messages and remedies. */
export interface SettingNames {
  readonly trustedCaFile: string;
  readonly proxy: string;
  readonly proxyPasswordFile: string;
  /** Where HTTPS_PROXY and NO_PROXY are set. */
  readonly environment: string;
  /** What to do when a setting has been corrected. */
  readonly retry: string;
}

/** Names in the local configuration file. */
export const AGENT_SETTINGS: SettingNames = {
  trustedCaFile: 'hub.trustedCaFile',
  proxy: 'hub.proxy',
  proxyPasswordFile: 'hub.proxyPasswordFile',
  environment: "the agent's environment",
  retry: 'try it with "vakt check"',
};
