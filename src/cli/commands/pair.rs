//! `orchestrator pair`: a phone or another browser comes in. Makes a code that is traded once, within minutes, for a token of
//! the device's own; shows it as a QR code and a link. The code is behind the link's `#`, so it reaches no server's log.

use std::time::Duration;

use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::adapters::clock::wall_ms;
use crate::adapters::identity::PairingCode;
use crate::cli::connection::{self, Found};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::parse_duration;
use crate::ui::format::age;

/// The deployment's bounds; a code that lies about for longer is a key under the mat.
const LONGEST_CODE: Duration = Duration::from_hours(1);
const SHORTEST_CODE: Duration = Duration::from_secs(1);
const LONGEST_TOKEN: Duration = Duration::from_hours(366 * 24);

/// Let a phone or another browser in: a QR code and a link, good once and for ten minutes
#[derive(Debug, Args)]
pub struct Pair {
    /// How long the code is good
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    ttl: Duration,

    /// How long the device stays paired, if it is not revoked before
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = validity)]
    valid: Duration,

    /// What the device is called [default: what its browser says]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Where the device reaches the page [default: what run --listen serves, else the deployment's address]
    #[arg(long, value_name = "URL", value_parser = page_address)]
    page: Option<Url>,

    /// Print the link without the QR code
    #[arg(long)]
    no_qr: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Pair {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        if !(SHORTEST_CODE..=LONGEST_CODE).contains(&self.ttl) {
            return Err(Failure::usage("--ttl must be 1s to 1h"));
        }
        let found = connection::find(app)?;
        let page = self.page.clone().map_or_else(|| page_of(&found), Ok)?;
        // A given token proves the owner, but only the key can make another one.
        let key = connection::owner_key(app, found.key.as_deref())?;
        let connection = connection::connect(app).await?;
        let pairing = PairingCode::new()?;
        let token = key.device_jwt(&pairing.device, self.valid)?;
        let mut invitation = json!({
            "deviceId": pairing.device,
            "codeHash": pairing.hash(),
            "sealed": pairing.seal(&token),
            "ttlMs": self.ttl.as_millis() as f64,
            "validUntil": wall_ms() as f64 + self.valid.as_millis() as f64,
        });
        if let Some(name) = &self.name {
            invitation["name"] = name.as_str().into();
        }
        let client = &connection.client;
        let invited = client.mutation("devices:invite", invitation).await?;
        let link = link(&page, pairing.code.expose_secret(), &connection.url);
        if self.json {
            let object = json!({
                "schema": 1,
                "device": pairing.device,
                "link": link,
                "open_until_ms": invited["openUntil"],
            });
            app.ui.json(&object);
            return Ok(Exit::Ok);
        }
        if !self.no_qr {
            app.ui.say(picture(&link)?);
        }
        app.ui.line(&link);
        app.ui.say(format!(
            "good once, for {}: open it on the device   ·   device {}   ·   take it back: orchestrator device revoke {}",
            age(self.ttl.as_millis() as u64),
            pairing.device,
            pairing.device
        ));
        if is_loopback(&page) {
            app.ui.say(
                "hint: this address is this machine's alone; a phone needs `run --local --listen ADDR`, or a tunnel and --page URL",
            );
        }
        Ok(Exit::Ok)
    }
}

/// The page beside the deployment. A deployment of Convex has none at its own address.
fn page_of(found: &Found) -> Result<Url, Failure> {
    let parsed = |text: &str| {
        Url::parse(text).map_err(|error| Failure::failed(format!("{text} is no address: {error}")))
    };
    if let Some(page) = &found.page {
        return parsed(page);
    }
    let deployment = parsed(&found.url)?;
    if is_loopback(&deployment) {
        return Ok(deployment);
    }
    Err(Failure::usage(format!(
        "where the page for {} is served is not known here",
        found.url
    ))
    .hint("name it: --page https://page.example"))
}

/// The code in the fragment. A page that is not the deployment's own is told which one is meant; a deployment on this
/// machine's loopback is none that another device could reach, so there the page's own is.
fn link(page: &Url, code: &str, deployment: &str) -> String {
    let mut fields = Serializer::new(String::new());
    fields.append_pair("pair", code);
    if let Ok(deployment) = Url::parse(deployment)
        && deployment.origin() != page.origin()
        && !is_loopback(&deployment)
    {
        fields.append_pair("deployment", &deployment.origin().ascii_serialization());
    }
    let mut link = page.clone();
    link.set_fragment(Some(&fields.finish()));
    link.to_string()
}

/// Longer than any other time that is set somewhere.
fn validity(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_mins(1) && time <= LONGEST_TOKEN => Ok(time),
        _ => Err("must be a time such as 90d, from a minute to a year".to_owned()),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn page_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.host().is_some() {
        Ok(url)
    } else {
        Err("it looks like https://page.example".to_owned())
    }
}

/// Half blocks, dark on light whatever the terminal's colours are: that is what cameras expect, so ours are inverted for
/// terminals, which are dark more often than not.
fn picture(link: &str) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(link, qrcode::EcLevel::L).map_err(|error| {
        Failure::failed(format!("the link does not fit into a QR code: {error}"))
    })?;
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        page_address(text).unwrap()
    }

    #[test]
    fn a_code_is_in_the_fragment_and_a_page_elsewhere_is_told_its_deployment() {
        let own = link(
            &url("http://127.0.0.1:3210"),
            "d.s",
            "http://127.0.0.1:3210",
        );
        assert_eq!(own, "http://127.0.0.1:3210/#pair=d.s");
        let tunnel = link(&url("https://t.example/"), "d.s", "http://127.0.0.1:3210");
        assert_eq!(tunnel, "https://t.example/#pair=d.s");
        let apart = link(
            &url("https://p.example/app/"),
            "d.s",
            "https://o.convex.cloud",
        );
        assert_eq!(
            apart,
            "https://p.example/app/#pair=d.s&deployment=https%3A%2F%2Fo.convex.cloud"
        );
    }

    #[test]
    fn a_deployment_elsewhere_has_no_page_that_we_know_of() {
        let found = |url: &str, page: Option<&str>| Found {
            url: url.to_owned(),
            key: None,
            page: page.map(str::to_owned),
        };
        assert!(page_of(&found("https://o.convex.cloud", None)).is_err());
        let listening = found("http://127.0.0.1:3210", Some("https://10.0.0.2:3211"));
        assert_eq!(page_of(&listening).unwrap(), url("https://10.0.0.2:3211"));
        for text in ["page.example", "ftp://x", "https://x/?pair=1"] {
            assert!(page_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_link_makes_a_square_of_half_blocks() {
        let picture =
            picture("http://127.0.0.1:3210/#pair=0123456789ab.abcdefghijklmnopqrstuvwx").unwrap();
        let lines: Vec<&str> = picture.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert!(
            (width / 2..=width / 2 + 1).contains(&lines.len()),
            "{width} x {}",
            lines.len()
        );
    }
}
