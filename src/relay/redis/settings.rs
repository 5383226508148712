//! How servers of Redis are reached: addresses, who this node is, and TLS, as files say now.

use redis::Client;
use redis::ClientTlsConfig;
use redis::ConnectionAddr;
use redis::ConnectionInfo;
use redis::IntoConnectionInfo;
use redis::ProtocolVersion;
use redis::RedisConnectionInfo;
use redis::TlsCertificates;
use redis::TlsMode;
use redis::sentinel::SentinelClientBuilder;
use redis::sentinel::SentinelServerType;

use crate::config;
use crate::config::FilePath;
use crate::config::RedisUrl;
use crate::failure::Failure;
use crate::relay::connection::Broken;
use crate::relay::files;
use crate::relay::redis::told;

/// What it takes to connect.
pub(super) struct Settings<'a> {
    config: &'a config::Redis,
    password: Option<String>,
    sentinel_password: Option<String>,
    certificates: TlsCertificates,
}

impl<'a> Settings<'a> {
    /// Reads the files that the configuration names.
    pub(super) fn read(config: &'a config::Redis) -> Result<Self, Failure> {
        let password = |name: &str, file: Option<&FilePath>| {
            file.map(|file| files::password(&format!("relay.redis.{name}"), file)).transpose()
        };
        let tls = config.tls.as_ref();
        let read = |name: &str, file: Option<&FilePath>| {
            file.map(|file| file.read(&format!("relay.redis.tls.{name}"))).transpose()
        };
        let root_cert = read("ca", tls.and_then(|tls| tls.ca.as_ref()))?;
        let certificate = read("certificate", tls.and_then(|tls| tls.certificate.as_ref()))?;
        let key = read("key", tls.and_then(|tls| tls.key.as_ref()))?;
        let client_tls =
            certificate.zip(key).map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Ok(Self {
            config,
            password: password("password_file", config.password_file.as_ref())?,
            sentinel_password: password("sentinel_password_file", config.sentinel_password_file.as_ref())?,
            certificates: TlsCertificates { client_tls, root_cert },
        })
    }

    /// A client of the server: the one at the address, or the one that sentinels know.
    pub(super) async fn client(&self) -> Result<Client, Broken> {
        let Some(name) = &self.config.sentinel else { return self.direct() };
        let sentinels = self.config.url.iter().map(|url| address(&url.host, url.port, url.encrypted));
        let mut builder =
            SentinelClientBuilder::new(sentinels, name, SentinelServerType::Master).map_err(told)?;
        builder = builder.set_client_to_redis_protocol(ProtocolVersion::RESP3);
        if let Some(username) = &self.config.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = &self.config.sentinel_username {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = &self.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.is_encrypted() {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(self.certificates.clone())
                .set_client_to_sentinel_certificates(self.certificates.clone());
        }
        builder.build().map_err(told)?.async_get_client().await.map_err(told)
    }

    /// Where the configuration says that servers are.
    pub(super) fn urls(&self) -> impl Iterator<Item = &'a RedisUrl> {
        self.config.url.iter()
    }

    fn direct(&self) -> Result<Client, Broken> {
        let url = self.config.url.iter().next().ok_or("there is no address")?;
        self.at(&url.host, url.port, url.database)
    }

    /// A client of the server that is there.
    pub(super) fn at(&self, host: &str, port: u16, database: u16) -> Result<Client, Broken> {
        let information = address(host, port, self.is_encrypted()).into_connection_info().map_err(told)?;
        let information: ConnectionInfo = information.set_redis_settings(self.login(database));
        if self.is_encrypted() {
            Client::build_with_tls(information, self.certificates.clone()).map_err(told)
        } else {
            Client::open(information).map_err(told)
        }
    }

    fn login(&self, database: u16) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .set_db(database.into());
        if let Some(username) = &self.config.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        login
    }

    fn is_encrypted(&self) -> bool {
        self.config.url.iter().any(|url| url.encrypted)
    }
}

fn address(host: &str, port: u16, is_encrypted: bool) -> ConnectionAddr {
    let host = host.to_owned();
    if is_encrypted {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}
