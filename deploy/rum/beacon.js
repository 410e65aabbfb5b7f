// geodns beacon: times the way from this browser to a few regions, once a page, after load, in idle time, and sends one report.
// It keeps nothing, names nobody, and leaves the page alone whatever fails.
//   <script async src="/beacon.js" data-rum="https://rum.example.com"></script>
// Old syntax throughout: in a browser that cannot parse it, it would be an error of the page.
(function (w, d, n) {
  'use strict';
  var base, gone, blocked, timings = {};
  try {
    begin();
  } catch (e) {} // whatever it is, the page has no part in it

  function begin() {
    base = d.currentScript.getAttribute('data-rum').replace(/\/+$/, '');
    if (!base || !w.fetch || !w.AbortController || !w.PerformanceObserver || !n.sendBeacon) return;
    if (n.doNotTrack === '1' || n.globalPrivacyControl || n.connection && n.connection.saveData) return;
    w.addEventListener('pagehide', function () { gone = 1; });
    d.addEventListener('securitypolicyviolation', function (e) {
      if (e.effectiveDirective === 'connect-src') blocked = 1;
    });
    if (d.readyState === 'complete') idle();
    else w.addEventListener('load', idle);
  }

  function idle() {
    function start() { Promise.resolve().then(run).catch(function () {}); }
    if (w.requestIdleCallback) w.requestIdleCallback(start, {timeout: 10000});
    else setTimeout(start, 2000);
  }

  function run() {
    return get(base + '/v1/rum/plan', 'cors', 'default').then(function (r) { return r.json(); }).then(function (plan) {
      if (!(Math.random() < plan.sample)) return;
      var all = [], observer = new PerformanceObserver(function (list) {
        list.getEntries().forEach(function (t) { timings[t.name] = t; });
      });
      observer.observe({entryTypes: ['resource']});
      // One after the other: they must not wait for each other's packets.
      return plan.probes.reduce(function (before, probe) {
        return before.then(function () { return measure(probe); }).then(function (s) { all.push(s); });
      }, Promise.resolve()).then(function () {
        // Timings come a moment after their answers.
        return new Promise(function (done) { setTimeout(done, 300); });
      }).then(function () {
        observer.disconnect();
        report(all);
      });
    });
  }

  function measure(probe) {
    var url, start;
    function ask() {
      url = new URL(probe.url);
      url.searchParams.set('r', Math.random()); // past every cache
      url = url.href;
      start = performance.now();
      return get(url, 'no-cors', 'no-store');
    }
    // The first one opens the connection, so that DNS, TCP and TLS are not in the second.
    return ask().then(ask).then(function () {
      return {region: probe.region, ms: performance.now() - start, url: url};
    }, function (why) {
      return {region: probe.region, error: why};
    });
  }

  // get fails with the word of the report.
  function get(url, mode, cache) {
    var abort = new AbortController(), late;
    var timer = setTimeout(function () { late = 1; abort.abort(); }, 5000);
    return fetch(url, {
      mode: mode, cache: cache, credentials: 'omit', referrerPolicy: 'no-referrer', signal: abort.signal
    }).then(function (r) {
      clearTimeout(timer);
      return r;
    }, function () {
      clearTimeout(timer);
      throw late ? 'timeout' : 'error';
    });
  }

  function report(all) {
    var samples = [];
    all.forEach(function (s) {
      var t = timings[s.url];
      // Without Timing-Allow-Origin only the whole is visible.
      if (t) s.ms = t.requestStart ? t.responseStart - t.requestStart : t.duration;
      if (s.ms > 0) samples.push({region: s.region, ms: Math.round(s.ms * 10) / 10});
      // A page that forbids the probes, or a browser that is offline, says nothing of a region.
      else if (s.error && !blocked && n.onLine !== false) samples.push({region: s.region, error: s.error});
    });
    // A page that is left aborts its requests: no failures of regions.
    if (samples.length && !gone) n.sendBeacon(base + '/v1/rum', JSON.stringify({v: 1, samples: samples}));
  }
})(window, document, navigator);
