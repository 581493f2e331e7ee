// What the official clients send for one alert, to a local server: node send.js http://127.0.0.1:PORT
import https from 'node:https';
import http from 'node:http';
import { event } from '@pagerduty/pdjs';
import { IncomingWebhook } from '@slack/webhook';
import datadog from '@datadog/datadog-api-client';

const base = new URL(process.argv[2]);

// pdjs speaks https to a host that it composes itself: its requests are led to the local server.
https.request = (options) => {
  const { hostname, port } = base;
  return http.request({ ...options, protocol: 'http:', agent: undefined, host: hostname, hostname, port, path: `/pagerduty${options.path}` });
};

const links = [{ href: 'https://n.test/1', text: 'the alert' }];
await event({
  data: {
    routing_key: '0123456789abcdef0123456789abcdef', event_action: 'trigger', dedup_key: 'a1', client: 'nines', client_url: 'https://n.test/1', links,
    payload: { summary: 'x', source: 'shop', severity: 'critical', timestamp: '2026-01-05T00:00:00.000Z', component: 'shop', class: 'y', custom_details: { text: '' } },
  },
});
await new IncomingWebhook(`${base.origin}/slack`).send({ text: 'x', blocks: [{ type: 'section', text: { type: 'mrkdwn', text: 'x' } }] });
const configuration = datadog.client.createConfiguration({
  authMethods: { apiKeyAuth: '0123456789abcdef0123456789abcdef' },
  baseServer: new datadog.client.BaseServerConfiguration(`${base.origin}/datadog`, {}),
});
await new datadog.v1.EventsApi(configuration).createEvent({
  body: { title: 'x', text: 'y', alertType: 'error', aggregationKey: 'a1', dateHappened: 1767571200, priority: 'normal', sourceTypeName: 'nines', tags: ['a:b'] },
});
