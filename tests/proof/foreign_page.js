// What a page of another origin tries; each attempt tells what it has read, and what is refused tells nothing.
async ({api, ui, secret, name}) => {
  const got = [];
  const uuid = '4f2b7c1e-8a4d-4c39-9c53-6f1d2ab3c4d5';
  const note = (what, value) => { if (value) got.push(`${what}: ${String(value).slice(0, 80)}`); };
  const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const attempt = async (what, action) => {
    try { note(what, await Promise.race([action(), wait(5)])); } catch (error) { /* refused */ }
  };
  const body = JSON.stringify({name});
  const shell = {name, flow_id: uuid, pull_steps:
    [{'prefect.deployments.steps.run_shell_script': {script: `touch /tmp/${name}`}}]};
  const auth = {authorization: `Basic ${btoa(secret)}`};
  const json = {'content-type': 'application/json'};
  const reads = ['/flows/', '/health', '/ready', '/admin/settings', '/csrf-token?client=stranger'];
  for (const path of reads)
    for (const credentials of ['omit', 'include'])
      for (const headers of [{}, auth])
        await attempt(`read ${path}`, async () => (await fetch(api + path, {credentials, headers})).text());
  for (const path of ['/ui-settings', '/trialhouse/proof?nonce=' + 'a'.repeat(64), '/dashboard'])
    await attempt(`read ${path}`, async () => (await fetch(ui + path)).text());
  for (const [path, given] of [['/flows/', body], ['/variables/', JSON.stringify({name, value: 1})],
                              ['/deployments/', ''], ['/work_pools/', JSON.stringify({name, type: 'process'})]]) {
    const text = given || JSON.stringify(shell);
    for (const headers of [json, {...json, ...auth}, {'content-type': 'text/plain'}])
      await attempt(`write ${path}`, async () =>
        (await fetch(api + path, {method: 'POST', body: text, headers})).text());
    if (path === '/flows/') shell.flow_id = got.join().match(/write .flows.: {"id":"([-0-9a-f]{36})/)?.[1] ?? uuid;
    await attempt(`no-cors ${path}`, () => fetch(api + path, {method: 'POST', mode: 'no-cors', body: text}).then(() => 0));
    await attempt(`keepalive ${path}`, () =>
      fetch(api + path, {method: 'POST', mode: 'no-cors', keepalive: true, body: text}).then(() => 0));
    navigator.sendBeacon(api + path, new Blob([text], {type: 'text/plain'}));
    for (const enctype of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const frame = document.createElement('iframe'); frame.name = `f${Math.random()}`;
      const form = Object.assign(document.createElement('form'),
        {method: 'post', action: api + path, enctype, target: frame.name});
      const input = Object.assign(document.createElement('input'), {name: text.slice(0, -1) + ',"x":"', value: '"}'});
      form.append(input); document.body.append(frame, form); form.submit();
    }
  }
  for (const method of ['DELETE', 'PATCH', 'PUT'])
    await attempt(method, async () => (await fetch(api + '/admin/storage', {method, headers: auth})).text());
  await attempt('xhr', () => new Promise((done) => {
    const request = new XMLHttpRequest();
    request.onload = () => done(request.responseText); request.onerror = () => done('');
    request.open('POST', api + '/flows/filter'); request.send('{}');
  }));
  const element = (tag, attributes) => new Promise((done) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.onload = () => done('loaded'); made.onerror = () => done('');
    document.body.append(made);
  });
  await attempt('script', () => element('script', {src: ui + '/assets/index.js'}));
  await attempt('script of the API', () => element('script', {src: api + '/health'}));
  await attempt('image', () => element('img', {src: ui + '/ico/favicon-32x32.png'}));
  await attempt('style', () => element('link', {rel: 'stylesheet', href: ui + '/assets/index.css'}));
  await attempt('frame', async () => {
    const frame = document.createElement('iframe'); frame.src = ui + '/dashboard'; document.body.append(frame);
    await wait(1); return frame.contentWindow.document.body.innerText;
  });
  await attempt('window', async () => {
    const opened = window.open(ui + '/dashboard'); await wait(1); return opened.document.body.innerText;
  });
  await attempt('event source', () => new Promise((done) => {
    const source = new EventSource(api + '/events/out'); source.onmessage = (m) => done(m.data);
    source.onerror = () => done('');
  }));
  const event = {occurred: new Date().toISOString(), event: name, resource: {'prefect.resource.id': name},
                 id: uuid, payload: {}};
  for (const path of ['/events/in', '/events/out', '/logs/out', '/task_runs/subscriptions/scheduled'])
    for (const protocols of [[], ['prefect']])
      await attempt(`websocket ${path}`, () => new Promise((done) => {
        const opened = new WebSocket(api.replace('http', 'ws') + path, protocols);
        opened.onopen = () => {
          opened.send(JSON.stringify({type: 'auth', token: secret}));
          opened.send(JSON.stringify(path === '/events/in' ? event : {type: 'filter', filter: {}}));
        };
        opened.onmessage = (message) => done(message.data);
        opened.onclose = () => done('');
      }));
  await wait(1);
  return got;
}
