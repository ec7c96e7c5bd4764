/** What the settings of a network are called where somebody sets them; for the messages and remedies of errors. */
export interface SettingNames {
  readonly trustedCaFile: string;
  readonly proxy: string;
  readonly proxyPasswordFile: string;
  /** Where HTTPS_PROXY and NO_PROXY are set. */
  readonly environment: string;
  /** What to do when a setting has been corrected. */
  readonly retry: string;
}

/** Those of the local configuration file. */
export const AGENT_SETTINGS: SettingNames = {
  trustedCaFile: 'hub.trustedCaFile',
  proxy: 'hub.proxy',
  proxyPasswordFile: 'hub.proxyPasswordFile',
  environment: "the agent's environment",
  retry: 'try it with "vakt check"',
};
